// Index arithmetic shared by the ops: broadcasting, and merging axes that are walked together.
#pragma once
#include <vector>

#include "engine/tensor.h"

namespace firn::ops {

// The shape that a and b broadcast to; ShapeError naming the op if they do not.
Shape broadcast_shape(const char* op, const Shape& a, const Shape& b);

std::vector<int64_t> strides_of(const Shape& shape);
// Strides to read `shape` as if it were `target`: 0 where it stretches.
std::vector<int64_t> broadcast_strides(const Shape& shape, const Shape& target);

// Walks `dims` with several sets of strides: drops axes of size 1 and merges neighbours that are contiguous in every
// set.
void merge_axes(Shape& dims, std::vector<std::vector<int64_t>>& strides);

// y[j . y_strides] = x[j . x_strides] for j in dims, on tensors of one type.
void strided_copy(Tensor& y, int64_t y_offset, std::vector<int64_t> y_strides, const Tensor& x, int64_t x_offset,
                  std::vector<int64_t> x_strides, Shape dims);

}  // namespace firn::ops
