// Moves without arithmetic.
#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/broadcast.h"

namespace firn {

Tensor reshape(const Tensor& x, Shape shape) {
  int64_t known = 1, *wild = nullptr;
  for (int64_t& d : shape) {
    if (d == -1) {
      wild = &d;
    } else {
      known *= d;
    }
  }
  if (wild) *wild = known ? x.count() / known : 0;
  if (std::ranges::any_of(shape, [](int64_t d) { return d < 0; }) || count(shape) != x.count())
    throw ShapeError(fmt::format("reshape: {} has another count than {}", to_string(x.shape()), to_string(shape)));
  return record("reshape", x.view(shape),
                {{x, [shape = x.shape()](const Tensor& gy, const Tensor&) { return reshape(gy, shape); }}});
}

Tensor permute(const Tensor& x, const std::vector<int>& axes) {
  if (axes.size() != x.shape().size())
    throw ShapeError(fmt::format("permute: {} axes for {}", axes.size(), to_string(x.shape())));
  const std::vector<int64_t> from = ops::strides_of(x.shape());
  Shape dims(axes.size());
  std::vector<int64_t> strides(axes.size());
  std::vector<int> inverse(axes.size(), -1);
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(axes[i]);
    if (axis >= axes.size() || inverse[axis] >= 0) throw ShapeError("permute: the axes are no permutation");
    dims[i] = x.shape()[axis];
    strides[i] = from[axis];
    inverse[axis] = static_cast<int>(i);
  }
  Tensor y = x.like(dims);
  ops::strided_copy(y, 0, ops::strides_of(dims), x, 0, strides, dims);
  return record({"permute", axes}, y,
                {{x, [inverse](const Tensor& gy, const Tensor&) { return permute(gy, inverse); }}});
}

Tensor flip(const Tensor& x, const std::vector<int>& axes) {
  const std::vector<int64_t> strides = ops::strides_of(x.shape());
  std::vector<int64_t> back = strides;
  int64_t last = 0;
  for (const int axis : axes) {
    const auto a = static_cast<size_t>(axis < 0 ? axis + x.rank() : axis);
    if (a >= back.size() || back[a] < 0)
      throw ShapeError(fmt::format("flip: {} has no axis {} that is still to be turned", to_string(x.shape()), axis));
    back[a] = -back[a];
    last += (x.shape()[a] - 1) * strides[a];
  }
  Tensor y = x.like();
  if (x.count()) ops::strided_copy(y, 0, strides, x, last, back, x.shape());
  y = record("flip", y, {{x, [axes](const Tensor& gy, const Tensor&) { return flip(gy, axes); }}});
  return back.empty() || back[0] < 0 ? y : keep_rows(std::move(y), x);
}

Tensor slice(const Tensor& x, int axis, int64_t begin, int64_t end) {
  const auto a = static_cast<size_t>(axis < 0 ? axis + x.rank() : axis);
  if (a >= x.shape().size() || begin < 0 || begin > end || end > x.shape()[a])
    throw ShapeError(fmt::format("slice: [{},{}) of axis {} is not inside {}", begin, end, axis, to_string(x.shape())));
  const int64_t size = x.shape()[a];
  const std::vector<int64_t> strides = ops::strides_of(x.shape());
  Shape dims = x.shape();
  dims[a] = end - begin;
  Tensor y = x.like(dims);
  ops::strided_copy(y, 0, ops::strides_of(dims), x, begin * strides[a], strides, dims);
  return record(
      {"slice", Slice{static_cast<int>(a), begin, end}}, y,
      {{x, [a, begin, size](const Tensor& gy, const Tensor&) { return embed(gy, static_cast<int>(a), begin, size); }}});
}

Tensor embed(const Tensor& x, int axis, int64_t begin, int64_t size) {
  const auto a = static_cast<size_t>(axis < 0 ? axis + x.rank() : axis);
  if (a >= x.shape().size() || begin < 0 || begin + x.shape()[a] > size)
    throw ShapeError(
        fmt::format("embed: {} at {} of axis {} does not fit in {}", to_string(x.shape()), begin, axis, size));
  Shape dims = x.shape();
  const int64_t end = begin + dims[a];
  dims[a] = size;
  Tensor y = Tensor::zeros(dims, x.type(), x.device());
  const std::vector<int64_t> strides = ops::strides_of(dims);
  ops::strided_copy(y, begin * strides[a], strides, x, 0, ops::strides_of(x.shape()), x.shape());
  return record(
      "embed", y,
      {{x, [a, begin, end](const Tensor& gy, const Tensor&) { return slice(gy, static_cast<int>(a), begin, end); }}});
}

Tensor concat(const std::vector<Tensor>& xs, int axis) {
  if (xs.empty()) throw ShapeError("concat: nothing to join");
  const auto a = static_cast<size_t>(axis < 0 ? axis + xs[0].rank() : axis);
  Shape dims = xs[0].shape();
  if (a >= dims.size()) throw ShapeError(fmt::format("concat: {} has no axis {}", to_string(dims), axis));
  dims[a] = 0;
  for (const Tensor& x : xs) {
    Shape s = x.shape();
    if (s.size() != dims.size())
      throw ShapeError(fmt::format("concat: {} and {} differ in rank", to_string(xs[0].shape()), to_string(s)));
    dims[a] += std::exchange(s[a], xs[0].shape()[a]);
    if (s != xs[0].shape() || x.type() != xs[0].type())
      throw ShapeError(fmt::format("concat: {} and {} differ outside axis {}", to_string(xs[0].shape()),
                                   to_string(x.shape()), axis));
  }
  Tensor y = xs[0].like(dims);
  const std::vector<int64_t> strides = ops::strides_of(dims);
  std::vector<Edge> edges;
  int64_t begin = 0;
  for (const Tensor& x : xs) {
    ops::strided_copy(y, begin * strides[a], strides, x, 0, ops::strides_of(x.shape()), x.shape());
    const int64_t end = begin + x.shape()[a];
    edges.push_back(
        {x, [a, begin, end](const Tensor& gy, const Tensor&) { return slice(gy, static_cast<int>(a), begin, end); }});
    begin = end;
  }
  return record({"concat", static_cast<int>(a)}, y, std::move(edges));
}

}  // namespace firn
