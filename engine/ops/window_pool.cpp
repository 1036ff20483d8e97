// Windows that slide over images: their maximum, whose gradient goes to the first pixel that has it, and their mean.
#include "kernels/ops/window_pool.h"

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/operands.h"

namespace firn {

namespace {

int64_t outputs(int64_t n, const PoolWindow& p) {
  const int64_t room = n + 2 * p.pad - p.size, steps = room < 0 ? -1 : (room + (p.ceil ? p.stride - 1 : 0)) / p.stride;
  return steps + 1 - (steps * p.stride >= n + p.pad);  // one that begins behind the image is none
}

Tensor put_into_window(const Tensor& y, const Tensor& at, const kernels::WindowSizes& s);

Tensor pick_from_window(const Tensor& x, const Tensor& at, const kernels::WindowSizes& s) {
  Tensor y = x.like({s.N, s.OH, s.OW, s.C});
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(), kernels::PickFromWindow<T>{y.mutable_as<T>(), x.as<T>(), at.as<int32_t>(), s});
  });
  return record("pick_from_window", y,
                {{x, [at, s](const Tensor& gy, const Tensor&) { return put_into_window(gy, at, s); }}});
}

Tensor put_into_window(const Tensor& y, const Tensor& at, const kernels::WindowSizes& s) {
  Tensor x = y.like({s.N, s.H, s.W, s.C});
  dispatch(y.type(), [&](auto tag) {
    using T = decltype(tag);
    run(y.stream(), kernels::PutIntoWindow<T>{x.mutable_as<T>(), y.as<T>(), at.as<int32_t>(), s});
  });
  return record("put_into_window", x,
                {{y, [at, s](const Tensor& gx, const Tensor&) { return pick_from_window(gx, at, s); }}});
}

Tensor mean_around(const Tensor& x, int size, bool adjoint) {
  Tensor y = x.like();
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(),
        kernels::MeanAround<T>{y.mutable_as<T>(), x.as<T>(), x.dim(0), x.dim(1), x.dim(2), x.dim(3), size, adjoint});
  });
  return record("mean_around", y,
                {{x, [=](const Tensor& gy, const Tensor&) { return mean_around(gy, size, !adjoint); }}});
}

}  // namespace

Tensor max_pool(const Tensor& x, PoolWindow p) {
  ops::require("max_pool", "x", x, ops::kImages);
  if (p.size < 1 || p.stride < 1 || p.pad < 0 || p.pad >= p.size)
    throw ShapeError(fmt::format("max_pool: size {}, stride {} and pad {}; expected 1 or more, and 0 up to size - 1",
                                 p.size, p.stride, p.pad));
  const kernels::WindowSizes s{x.dim(0), x.dim(1), x.dim(2), x.dim(3), outputs(x.dim(1), p), outputs(x.dim(2), p),
                               p.size,   p.stride, p.pad};
  if (s.OH < 1 || s.OW < 1)
    throw ShapeError(fmt::format("max_pool: a window of {} is larger than x {}", p.size, to_string(x.shape())));
  Tensor y = x.like({s.N, s.OH, s.OW, s.C}), at;
  if (x.wants_grad() && is_recording()) at = x.like(y.shape(), DType::i32);
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(),
        kernels::MaxPool<T>{y.mutable_as<T>(), at.defined() ? at.mutable_as<int32_t>() : nullptr, x.as<T>(), s});
  });
  return record("max_pool", y, {{x, [at, s](const Tensor& gy, const Tensor&) { return put_into_window(gy, at, s); }}});
}

Tensor mean_around(const Tensor& x, int size) {
  ops::require("mean_around", "x", x, ops::kImages);
  if (size < 1 || size % 2 == 0) throw ShapeError(fmt::format("mean_around: size {}; expected an odd one", size));
  return mean_around(x, size, false);
}

}  // namespace firn
