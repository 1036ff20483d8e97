// The tape's half of ops that a fused op contains: a value that was computed in another way, on the tape as if the op
// had computed it.
#pragma once
#include <functional>

#include "engine/ops.h"

namespace firn::ops {

// ShapeError unless bias_act(x, b, p) makes sense.
void check_bias_act(const Shape& x, DType type, const Tensor& b, const BiasAct& p);

// y = bias_act(x, b, p). x may have no values where make_x gives them (as ops, for second derivatives).
Tensor record_bias_act(const Tensor& y, const Tensor& x, const Tensor& b, const BiasAct& p,
                       const std::function<Tensor()>& make_x);

}  // namespace firn::ops
