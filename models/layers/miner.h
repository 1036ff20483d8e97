// A map from latents to those that a generator makes images of (MineGAN: Wang et al. 2020, arXiv 1912.05270): two
// layers with a ReLU between them, as PyTorch initialises them.
#pragma once
#include "models/network.h"

namespace firn {

class Miner : public Network {
 public:
  Miner(int z_dim, uint64_t seed, DType type, const Device& device);
  Tensor operator()(const Tensor& z) const;  // [N,z_dim]

 private:
  Parameter w1_, b1_, w2_, b2_;
};

}  // namespace firn
