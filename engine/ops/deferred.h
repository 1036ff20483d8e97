// Gradients that are computed by whoever takes them. An op whose gradient another op may compute along with its own
// hands on a Deferred of a kind that is declared here, but only where nothing is recorded and only on a device with
// such a pass. It arrives among the parts of the gradient of a tensor, at the op that made that tensor: that one either
// takes it and computes it in its own pass, or sum_of_parts calls make(). What several tensors wait for has one owner,
// which they share; whoever computes first leaves the rest there.
#pragma once
#include <algorithm>

#include "engine/ops.h"

namespace firn::ops {

// Takes the first part of a kind out of them; null where there is none.
template <class Kind>
std::shared_ptr<Kind> take(std::vector<Tensor>& parts) {
  for (auto part = parts.begin(); part != parts.end(); ++part)
    if (auto found = std::dynamic_pointer_cast<Kind>(part->deferred())) {
      parts.erase(part);
      return found;
    }
  return nullptr;
}

// What scale_channels(x, s) passes on of gy: gy s to x and, if wanted, the dots over pixels of gy and x to s. Taken by
// bias_act, whose y is that x.
struct ScaledGradient : Deferred {
  Tensor gy, x, s;
  bool wants_dots = false;
  Tensor dots;             // once somebody has computed them
  Tensor make() override;  // what goes to x, and the dots
  bool lacks_dots() const { return wants_dots && !dots.defined(); }
  void release() { gy = x = {}; }  // both are computed
};

// What conv2d(x, w, p) passes on of gy to x. Taken by upfirdn2d.
struct ConvInputGradient : Deferred {
  Tensor gy, w;
  Shape x_shape;
  Conv2d p;
  Tensor make() override;
};
// upfirdn2d of that, in one pass where the device has one.
Tensor filter(ConvInputGradient& g, const Fir& p);

}  // namespace firn::ops
