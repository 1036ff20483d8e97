// Images of twice and of half the size; each op is the other's gradient.
#include "kernels/ops/pooling.h"

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/operands.h"

namespace firn {

Tensor upsample_nearest(const Tensor& x, double gain) {
  ops::require("upsample_nearest", "x", x, ops::kImages);
  Tensor y = x.like({x.dim(0), 2 * x.dim(1), 2 * x.dim(2), x.dim(3)});
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(), kernels::UpsampleNearest<T>{y.mutable_as<T>(), x.as<T>(), x.dim(0), x.dim(1), x.dim(2), x.dim(3),
                                                static_cast<acc_t<T>>(gain)});
  });
  return record({"upsample_nearest", gain}, y,
                {{x, [gain](const Tensor& gy, const Tensor&) { return average_pool(gy, 4 * gain); }}});
}

Tensor average_pool(const Tensor& x, double gain) {
  ops::require("average_pool", "x", x, ops::kImages);
  if (x.dim(1) % 2 || x.dim(2) % 2)
    throw ShapeError(fmt::format("average_pool: expected even sizes, got {}", to_string(x.shape())));
  Tensor y = x.like({x.dim(0), x.dim(1) / 2, x.dim(2) / 2, x.dim(3)});
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(), kernels::SumPool<T>{y.mutable_as<T>(), x.as<T>(), y.dim(0), y.dim(1), y.dim(2), y.dim(3),
                                        static_cast<acc_t<T>>(gain / 4)});
  });
  return record({"average_pool", gain}, y,
                {{x, [gain](const Tensor& gy, const Tensor&) { return upsample_nearest(gy, gain / 4); }}});
}

}  // namespace firn
