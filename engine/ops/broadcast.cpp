#include "engine/ops/broadcast.h"

#include "base/error.h"
#include "kernels/ops/elementwise.h"

namespace firn::ops {

Shape broadcast_shape(const char* op, const Shape& a, const Shape& b) {
  const size_t rank = std::max(a.size(), b.size());
  Shape result(rank);
  for (size_t i = 0; i < rank; ++i) {
    const int64_t u = i < rank - a.size() ? 1 : a[i - (rank - a.size())];
    const int64_t v = i < rank - b.size() ? 1 : b[i - (rank - b.size())];
    if (u != v && u != 1 && v != 1)
      throw ShapeError(fmt::format("{}: {} and {} do not broadcast", op, to_string(a), to_string(b)));
    result[i] = u == 1 ? v : u;
  }
  return result;
}

std::vector<int64_t> strides_of(const Shape& shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t step = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

std::vector<int64_t> broadcast_strides(const Shape& shape, const Shape& target) {
  const std::vector<int64_t> own = strides_of(shape);
  std::vector<int64_t> result(target.size(), 0);
  const size_t lead = target.size() - shape.size();
  for (size_t i = 0; i < shape.size(); ++i)
    if (shape[i] != 1) result[lead + i] = own[i];
  return result;
}

void merge_axes(Shape& dims, std::vector<std::vector<int64_t>>& strides) {
  Shape merged;
  std::vector<std::vector<int64_t>> out(strides.size());
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 1) continue;
    bool joins = !merged.empty();
    for (size_t s = 0; joins && s < strides.size(); ++s) joins = out[s].back() == strides[s][i] * dims[i];
    if (joins) {
      merged.back() *= dims[i];
      for (size_t s = 0; s < strides.size(); ++s) out[s].back() = strides[s][i];
    } else {
      merged.push_back(dims[i]);
      for (size_t s = 0; s < strides.size(); ++s) out[s].push_back(strides[s][i]);
    }
  }
  if (merged.empty()) {
    merged = {1};
    for (auto& s : out) s = {1};
  }
  if (merged.size() > kernels::kMaxRank) throw ShapeError(fmt::format("more than {} axes", kernels::kMaxRank));
  dims = std::move(merged);
  strides = std::move(out);
}

void strided_copy(Tensor& y, int64_t y_offset, std::vector<int64_t> y_strides, const Tensor& x, int64_t x_offset,
                  std::vector<int64_t> x_strides, Shape dims) {
  std::vector<std::vector<int64_t>> strides{std::move(y_strides), std::move(x_strides)};
  merge_axes(dims, strides);
  dispatch_any(y.type(), [&](auto tag) {
    using T = decltype(tag);
    kernels::StridedCopy<T> k{
        y.mutable_as<T>() + y_offset, x.as<T>() + x_offset, static_cast<int>(dims.size()), {}, {}, {}};
    for (size_t i = 0; i < dims.size(); ++i) {
      k.dims[i] = dims[i];
      k.y_strides[i] = strides[0][i];
      k.x_strides[i] = strides[1][i];
    }
    run(y.stream(), k);
  });
}

}  // namespace firn::ops
