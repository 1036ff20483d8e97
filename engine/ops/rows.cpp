// Softmax and layer normalisation.
#include "kernels/ops/rows.h"

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/operands.h"
#include "engine/ops/recorded.h"

namespace firn {

namespace {

Shape one_a_row(const Tensor& x) {
  Shape s = x.shape();
  s.back() = 1;
  return s;
}

Tensor mean_of_row(const Tensor& x) { return mean_axes(x, {x.rank() - 1}); }

// The definition, differentiable any number of times.
Tensor layer_norm_by_ops(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps) {
  const Tensor wide = cast(x, acc_type(x.type())), centred = sub(wide, mean_of_row(wide));
  return cast(mul(mul(centred, rsqrt(mean_of_row(square(centred)) + eps)), gamma) + beta, x.type());
}

std::vector<Tensor> layer_norm_backward(const Tensor& gy, const Tensor& x, const Tensor& moments, const Tensor& gamma,
                                        const Wanted& wanted) {
  std::vector<Tensor> all(3);
  const int64_t C = x.dim(-1);
  if (wanted[0]) {
    all[0] = x.like();
    dispatch(x.type(), [&](auto tag) {
      using T = decltype(tag);
      using A = acc_t<T>;
      run(x.stream(), kernels::LayerNormGrad<T>{all[0].mutable_as<T>(), gy.as<T>(), x.as<T>(), moments.as<A>(),
                                                gamma.as<A>(), x.count() / C, C});
    });
  }
  const Tensor rows = reshape(gy, {-1, C});
  if (wanted[1]) {
    const Tensor centred = sub(cast(reshape(x, {-1, C}), moments.type()), slice(moments, 1, 0, 1));
    all[1] = sum_to(mul(cast(rows, moments.type()), mul(centred, slice(moments, 1, 1, 2))), {C});
  }
  if (wanted[2]) all[2] = sum_to(rows, {C});
  return all;
}

}  // namespace

Tensor ops::softmax_grad(const Tensor& gy, const Tensor& y) {
  if (is_recording()) {
    const Tensor wide = cast(y, acc_type(y.type())), g = cast(gy, wide.type());
    return cast(mul(wide, sub(g, sum_to(mul(g, wide), one_a_row(y)))), y.type());
  }
  Tensor gx = y.like();
  if (y.count())
    dispatch(y.type(), [&](auto tag) {
      using T = decltype(tag);
      run(y.stream(),
          kernels::SoftmaxGrad<T>{gx.mutable_as<T>(), gy.as<T>(), y.as<T>(), y.count() / y.dim(-1), y.dim(-1)});
    });
  return gx;
}

Tensor softmax(const Tensor& x) {
  ops::require("softmax", "x", x, ops::kSamples);
  Tensor y = x.like();
  if (x.count())
    dispatch(x.type(), [&](auto tag) {
      using T = decltype(tag);
      run(x.stream(), kernels::Softmax<T>{y.mutable_as<T>(), x.as<T>(), x.count() / x.dim(-1), x.dim(-1)});
    });
  return record("softmax", y, {{x, [](const Tensor& gy, const Tensor& y) { return ops::softmax_grad(gy, y); }}},
                Keep::output);
}

Tensor layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, double eps) {
  ops::require("layer_norm", "x", x, ops::kSamples);
  const int64_t C = x.dim(-1);
  const DType wide = acc_type(x.type());
  for (const Tensor* t : {&gamma, &beta})
    if (x.count() == 0 || t->shape() != Shape{C} || t->type() != wide)
      throw ShapeError(fmt::format("layer_norm: x {} needs gamma and beta [{}] {}, got {} {}", to_string(x.shape()), C,
                                   name_of(wide), to_string(t->shape()), name_of(t->type())));
  const int64_t R = x.count() / C;
  Tensor y = x.like(), moments;
  if (is_recording()) moments = x.like({R, 2}, wide);
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    run(x.stream(), kernels::LayerNorm<T>{y.mutable_as<T>(), moments.defined() ? moments.mutable_as<A>() : nullptr,
                                          x.as<T>(), gamma.as<A>(), beta.as<A>(), R, C, static_cast<A>(eps)});
  });
  return ops::record_fused(
      "layer_norm", y, {x, gamma, beta}, [=] { return layer_norm_by_ops(x, gamma, beta, eps); },
      [=](std::vector<Tensor> parts, const Tensor&, const Wanted& wanted) {
        return layer_norm_backward(sum_of_parts(std::move(parts)), x, moments, gamma, wanted);
      });
}

}  // namespace firn
