// Latents by number: one for each image of a data set, or points that others are drawn around.
#pragma once
#include "models/network.h"

namespace firn {

class LatentTable : public Network {
 public:
  LatentTable(int64_t rows, const Generator& g, uint64_t seed);  // N(0,1), of g's size and type
  Tensor operator()(const Tensor& rows) const;                   // [N] i32 -> [N,z_dim]

 private:
  Parameter table_;
};

}  // namespace firn
