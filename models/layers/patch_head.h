// Logits of patches: what a discriminator's front sees around each place, judged by one 3x3 convolution of equalised
// learning rate.
#pragma once
#include "models/network.h"

namespace firn {

class PatchHead : public Network {
 public:
  PatchHead(int channels, uint64_t seed, DType type, const Device& device);
  Tensor operator()(const Tensor& x) const;  // [N,H,W,C] -> [N,H,W,1]

 private:
  Parameter w_, b_;
};

}  // namespace firn
