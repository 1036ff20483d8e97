// Sums over axes and their adjoint.
#include "kernels/ops/reduce.h"

#include <algorithm>

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/broadcast.h"
#include "engine/ops/operands.h"

namespace firn {

namespace {

// [A,R,B] -> [A,B] in the accumulation type.
Tensor sum_middle(const Tensor& x, int64_t A, int64_t R, int64_t B) {
  Tensor y = x.like({A, B}, acc_type(x.type()));
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    kernels::sum_middle<T>(x.stream(), y.mutable_as<acc_t<T>>(), x.as<T>(), A, R, B);
  });
  return y;
}

}  // namespace

Tensor sum_to(const Tensor& x, const Shape& shape) {
  const Shape target = ops::broadcast_shape("sum_to", x.shape(), shape);
  if (target != x.shape())
    throw ShapeError(fmt::format("sum_to: {} is not a broadcast of {}", to_string(x.shape()), to_string(shape)));
  if (shape == x.shape()) return x;
  // Each maximal run of reduced axes is one [A,R,B] sum, from the back so that the axes before it keep their places.
  Shape dims = x.shape();
  const Shape keep = [&] {
    Shape s(dims.size() - shape.size(), 1);
    s.insert(s.end(), shape.begin(), shape.end());
    return s;
  }();
  Tensor y = x.detach();
  for (size_t end = dims.size(); end > 0;) {
    if (dims[end - 1] == keep[end - 1]) {
      --end;
      continue;
    }
    size_t begin = end;
    while (begin > 0 && (dims[begin - 1] != keep[begin - 1] || dims[begin - 1] == 1)) --begin;
    int64_t A = 1, R = 1, B = 1;
    for (size_t i = 0; i < begin; ++i) A *= dims[i];
    for (size_t i = begin; i < end; ++i) R *= dims[i];
    for (size_t i = end; i < dims.size(); ++i) B *= dims[i];
    y = sum_middle(y, A, R, B);
    for (size_t i = begin; i < end; ++i) dims[i] = 1;
    end = begin;
  }
  y = cast(y, acc_type(x.type())).view(shape);
  return record(
      "sum", y,
      {{x, [shape = x.shape(), type = x.type()](const Tensor& gy, const Tensor&) { return expand(gy, shape, type); }}});
}

Tensor expand(const Tensor& x, const Shape& shape, DType type) {
  if (ops::broadcast_shape("expand", x.shape(), shape) != shape)
    throw ShapeError(fmt::format("expand: {} does not broadcast to {}", to_string(x.shape()), to_string(shape)));
  if (shape == x.shape()) return cast(x, type);
  const Tensor source = cast(x, type);
  Tensor y = source.like(shape);
  ops::strided_copy(y, 0, ops::strides_of(shape), source, 0, ops::broadcast_strides(x.shape(), shape), shape);
  return record(
      "expand", y,
      {{source, [shape = x.shape(), type](const Tensor& gy, const Tensor&) { return cast(sum_to(gy, shape), type); }}});
}

Tensor sum(const Tensor& x) { return sum_to(x, {}); }
Tensor mean(const Tensor& x) { return sum(x) * (1.0 / static_cast<double>(x.count())); }

Tensor sum_per_sample(const Tensor& x) {
  ops::require("sum_per_sample", "x", x, ops::kSamples);
  Shape keep(x.shape().size(), 1);
  keep[0] = x.dim(0);
  return reshape(sum_to(x, keep), {x.dim(0)});
}

Tensor mean_axes(const Tensor& x, const std::vector<int>& axes) {
  Shape keep = x.shape();
  int64_t n = 1;
  for (int a : axes) {
    if (a < 0 || a >= x.rank()) throw ShapeError(fmt::format("mean_axes: {} has no axis {}", to_string(x.shape()), a));
    n *= keep[static_cast<size_t>(a)];
    keep[static_cast<size_t>(a)] = 1;
  }
  return sum_to(x, keep) * (1.0 / static_cast<double>(n));
}

}  // namespace firn
