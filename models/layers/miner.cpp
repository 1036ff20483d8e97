#include "models/layers/miner.h"

#include <cmath>

#include "engine/range.h"
#include "models/layers/maker.h"

namespace firn {

Miner::Miner(int z_dim, uint64_t seed, DType type, const Device& device) : Network(device) {
  ParameterMaker make(parameters_, seed, type, device);
  const double bound = 1 / std::sqrt(double(z_dim));
  w1_ = make.uniform("0.weight", {z_dim, z_dim}, bound);
  b1_ = make.uniform("0.bias", {z_dim}, bound);
  w2_ = make.uniform("1.weight", {z_dim, z_dim}, bound);
  b2_ = make.uniform("1.bias", {z_dim}, bound);
}

Tensor Miner::operator()(const Tensor& z) const {
  const Range range("miner");
  const Tensor h = bias_act(matmul(z, w1_(), {.trans_b = true}), b1_(), {.slope = 0});
  return bias_act(matmul(h, w2_(), {.trans_b = true}), b2_(), linear());
}

}  // namespace firn
