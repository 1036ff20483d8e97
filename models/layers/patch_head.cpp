#include "models/layers/patch_head.h"

#include <cmath>

#include "models/layers/maker.h"

namespace firn {

PatchHead::PatchHead(int channels, uint64_t seed, DType type, const Device& device) : Network(device) {
  ParameterMaker make(parameters_, seed, type, device);
  w_ = make.normal("weight", {1, 3, 3, channels});
  b_ = make.constant("bias", {1}, 0);
}

Tensor PatchHead::operator()(const Tensor& x) const {
  const Tensor logits =
      conv2d(as_type(x, w_().type()), w_(), {.pad = 1, .gain = 1 / std::sqrt(9.0 * double(x.dim(3)))});
  return logits + b_();
}

}  // namespace firn
