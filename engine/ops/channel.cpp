// scale_channels and dot_pixels define each other's gradients.
#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/deferred.h"
#include "engine/ops/operands.h"
#include "engine/ops/recorded.h"
#include "kernels/device/memory.h"
#include "kernels/ops/reduce.h"

namespace firn {

namespace {
struct Sizes {
  int64_t N, P, C;
};
Sizes sizes(const Tensor& x) { return {x.dim(0), x.count() / std::max<int64_t>(1, x.dim(0) * x.dim(-1)), x.dim(-1)}; }
}  // namespace

void ops::check_scale_channels(const Tensor& x, const Tensor& s) {
  ops::require("scale_channels", "x", x, ops::kChannels);
  const auto [N, P, C] = sizes(x);
  if (s.shape() != Shape{N, C} || s.type() != acc_type(x.type()))
    throw ShapeError(fmt::format("scale_channels: x {} {} needs s [{},{}] {}, got {} {}", to_string(x.shape()),
                                 name_of(x.type()), N, C, name_of(acc_type(x.type())), to_string(s.shape()),
                                 name_of(s.type())));
}

Tensor ops::ScaledGradient::make() {
  const Tensor gx = scale_channels(gy, s);
  if (lacks_dots()) dots = dot_pixels(gy, x);
  release();
  return gx;
}

namespace {
// The half that goes to s. What takes the other half has mostly found it by the time that it is asked for.
struct ScaledDots : Deferred {
  explicit ScaledDots(std::shared_ptr<ops::ScaledGradient> g) : gradient(std::move(g)) {}
  std::shared_ptr<ops::ScaledGradient> gradient;
  Tensor make() override {
    if (gradient->lacks_dots()) gradient->dots = dot_pixels(gradient->gy, gradient->x);
    return gradient->dots;
  }
};
}  // namespace

Tensor ops::record_scale_channels(const Tensor& y, const Tensor& x, const Tensor& s) {
  // bias_act makes both gradients in the pass that makes its own.
  return record("scale_channels", y, {x, s},
                [s, kept = s.wants_grad() ? x : Tensor{}](std::vector<Tensor> parts, const Tensor&,
                                                          const Wanted& wanted) -> std::vector<Tensor> {
                  const Tensor gy = sum_of_parts(std::move(parts));
                  if (is_recording())
                    return {wanted[0] ? scale_channels(gy, s) : Tensor{}, wanted[1] ? dot_pixels(gy, kept) : Tensor{}};
                  const auto g = std::make_shared<ScaledGradient>();
                  g->gy = gy, g->x = kept, g->s = s, g->wants_dots = wanted[1];
                  return {Tensor::deferred(gy.shape(), gy.type(), gy.device(), g),
                          Tensor::deferred(s.shape(), s.type(), s.device(), std::make_shared<ScaledDots>(g))};
                });
}

Tensor scale_channels(const Tensor& x, const Tensor& s) {
  ops::check_scale_channels(x, s);
  const auto [N, P, C] = sizes(x);
  Tensor y = x.like();
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(), kernels::ScaleChannels<T>{y.mutable_as<T>(), x.as<T>(), s.as<acc_t<T>>(), N, P, C});
  });
  return ops::record_scale_channels(y, x, s);
}

Tensor dot_pixels(const Tensor& a, const Tensor& b) {
  ops::require("dot_pixels", "a", a, ops::kChannels);
  const auto [N, P, C] = sizes(a);
  if (a.shape() != b.shape() || a.type() != b.type())
    throw ShapeError(fmt::format("dot_pixels: {} {} and {} {} differ", to_string(a.shape()), name_of(a.type()),
                                 to_string(b.shape()), name_of(b.type())));
  const int64_t parts = kernels::parts_for(a.stream(), N, P, C);
  Tensor y = a.like({N, C}, acc_type(a.type()));
  dispatch(a.type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    A* const to = y.mutable_as<A>();
    const kernels::Scratch partial(a.stream(), parts == 1 ? 0 : sizeof(A) * static_cast<size_t>(N * parts * C));
    A* const sums = parts == 1 ? to : static_cast<A*>(partial.data());
    run(a.stream(), kernels::DotPixels<T>{sums, a.as<T>(), b.as<T>(), N, P, C, parts});
    if (parts > 1) kernels::add_parts(a.stream(), to, sums, N, parts, C);
  });
  return record("dot_pixels", y,
                {{a, [b](const Tensor& gy, const Tensor&) { return scale_channels(b, gy); }},
                 {b, [a](const Tensor& gy, const Tensor&) { return scale_channels(a, gy); }}});
}

}  // namespace firn
