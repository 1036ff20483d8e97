// Along rows, then along columns; the transposes are the gradients, to any order.
#include "kernels/ops/resize.h"

#include <algorithm>

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/operands.h"

namespace firn {

namespace {

struct Axis {
  int64_t A, from, to, B;  // [A,from,B] -> [A,to,B]
  Resize how;
  double step;
  bool transposed;
};

Tensor resize_axis(const Tensor& x, const Axis& a, const Shape& shape) {
  Tensor y = x.like(shape);
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(),
        kernels::ResizeAxis<T>{y.mutable_as<T>(), x.as<T>(), a.A, a.B, int(a.from), int(a.to), kernels::ResizeBy(a.how),
                               a.step, a.step > 0 ? 1 / a.step : double(a.to), a.transposed});
  });
  return record("resize", y, {{x, [a, from = x.shape()](const Tensor& gy, const Tensor&) {
                                 Axis back = a;
                                 back.transposed = !a.transposed;
                                 return resize_axis(gy, back, from);
                               }}});
}

}  // namespace

Tensor resize(const Tensor& x, int64_t height, int64_t width, Resize how, double step) {
  ops::require("resize", "x", x, ops::kImages);
  const int64_t N = x.dim(0), H = x.dim(1), W = x.dim(2), C = x.dim(3), most = 32768;
  if (height < 1 || width < 1 || x.count() == 0 || std::max({H, W, height, width}) > most || !(step >= 0))
    throw ShapeError(
        fmt::format("resize: {} to {} x {}; expected sides from 1 to {}", to_string(x.shape()), height, width, most));
  const auto along = [&](const Tensor& of, int64_t A, int64_t from, int64_t to, int64_t B, const Shape& shape) {
    if (from == to && step == 0) return of;
    const double spacing = step > 0                  ? step
                           : how != Resize::bilinear ? double(from) / double(to)
                           : to > 1                  ? double(from - 1) / double(to - 1)
                                                     : 0;
    return resize_axis(of, {A, from, to, B, how, spacing, false}, shape);
  };
  const Tensor rows = along(x, N, H, height, W * C, {N, height, W, C});
  return along(rows, N * height, W, width, C, {N, height, width, C});
}

}  // namespace firn
