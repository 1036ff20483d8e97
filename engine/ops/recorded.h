// The tape's half of ops that a fused op contains: a value that was computed in another way, on the tape as if the op
// had computed it.
#pragma once
#include <functional>

#include "engine/ops.h"

namespace firn::ops {

// y, which was computed in some other way than its definition `composed`. Its backward is `together`, or the gradients
// of the definition where those are to be differentiated. Who watches sees the definition.
Tensor record_fused(const Op& op, const Tensor& y, const std::vector<Tensor>& inputs,
                    const std::function<Tensor()>& composed, const GradsFn& together, Keep keep = Keep::nothing);

// t has no values; this gives those that f computes, which are t to the tape.
inline std::function<Tensor()> values_of(const Tensor& t, std::function<Tensor()> f) {
  return [node = t.node(), f = std::move(f)] {
    const NoGrad scope;
    Tensor values = f();
    values.set_node(node);
    return values;
  };
}

inline const void* data_or_null(const Tensor& t) { return t.defined() ? t.data() : nullptr; }

kernels::Epilogue<> epilogue(const Tensor& b, const BiasAct& p);

// ShapeError unless bias_act(x, b, p) makes sense.
void check_bias_act(const Shape& x, DType type, const Tensor& b, const BiasAct& p);

// y = bias_act(x, b, p). x may have no values: those that a gradient needs are recovered from y.
Tensor record_bias_act(const Tensor& y, const Tensor& x, const Tensor& b, const BiasAct& p);

Tensor record_matmul(const Tensor& y, const Tensor& a, const Tensor& b, const Matmul& p);  // y = matmul(a, b, p)

Tensor softmax_grad(const Tensor& gy, const Tensor& y);  // of y = softmax(x): y (gy - sum of gy y)

void check_scale_channels(const Tensor& x, const Tensor& s);  // ShapeError
Tensor record_scale_channels(const Tensor& y, const Tensor& x, const Tensor& s);

// y = conv2d(x, w, p). x may have no values where make_x gives them.
Tensor record_conv2d(const Tensor& y, const Tensor& x, const Tensor& w, const Conv2d& p,
                     const std::function<Tensor()>& make_x);

// conv2d_weight_grad of these rows of w, null for all: no other output channels of gy are multiplied. Where there are
// groups, all the same.
Tensor conv2d_weight_grad_of(const TrainedRowsPtr& rows, const Tensor& x, const Tensor& gy, const Shape& w_shape,
                             const Conv2d& p);

Tensor record_upfirdn2d(const Tensor& y, const Tensor& x, const Fir& p);  // y = upfirdn2d(x, p)
Shape upfirdn2d_shape(const Tensor& x, const Fir& p);                     // ShapeError

// The shape of conv2d(x, w, p), and the problem that a provider solves for it; ShapeError where they do not fit.
Shape conv2d_shape(const Tensor& x, const Tensor& w, const Conv2d& p);
kernels::ConvProblem conv2d_problem(const Shape& x, const Shape& y, const Shape& w, const Conv2d& p, DType type);

}  // namespace firn::ops
