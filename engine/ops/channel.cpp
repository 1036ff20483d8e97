// scale_channels and dot_pixels define each other's gradients.
#include "engine/ops.h"
#include "engine/ops/parts.h"
#include "engine/ops/recorded.h"
#include "kernels/error.h"
#include "kernels/reduce.h"

namespace firn {

namespace {
struct Sizes {
  int64_t N, P, C;
};
Sizes sizes(const Tensor& x) { return {x.dim(0), x.count() / std::max<int64_t>(1, x.dim(0) * x.dim(-1)), x.dim(-1)}; }
}  // namespace

void ops::check_scale_channels(const Tensor& x, const Tensor& s) {
  const auto [N, P, C] = sizes(x);
  if (s.shape() != Shape{N, C} || s.type() != acc_type(x.type()))
    throw ShapeError(fmt::format("scale_channels: x {} {} needs s [{},{}] {}, got {} {}", to_string(x.shape()),
                                 name_of(x.type()), N, C, name_of(acc_type(x.type())), to_string(s.shape()),
                                 name_of(s.type())));
}

Tensor ops::record_scale_channels(const Tensor& y, const Tensor& x, const Tensor& s) {
  return record("scale_channels", y,
                {{x, [s](const Tensor& gy, const Tensor&) { return scale_channels(gy, s); }},
                 {s, [x](const Tensor& gy, const Tensor&) { return dot_pixels(gy, x); }}});
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
  const auto [N, P, C] = sizes(a);
  if (a.shape() != b.shape() || a.type() != b.type())
    throw ShapeError(fmt::format("dot_pixels: {} {} and {} {} differ", to_string(a.shape()), name_of(a.type()),
                                 to_string(b.shape()), name_of(b.type())));
  const int64_t parts = ops::parts_for(N, P, C);
  Tensor y = a.like({N, parts, C}, acc_type(a.type()));
  dispatch(a.type(), [&](auto tag) {
    using T = decltype(tag);
    run(a.stream(), kernels::DotPixels<T>{y.mutable_as<acc_t<T>>(), a.as<T>(), b.as<T>(), N, P, C, parts});
  });
  return record("dot_pixels", ops::add_parts(y, N, parts, C),
                {{a, [b](const Tensor& gy, const Tensor&) { return scale_channels(b, gy); }},
                 {b, [a](const Tensor& gy, const Tensor&) { return scale_channels(a, gy); }}});
}

}  // namespace firn
