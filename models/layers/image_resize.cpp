#include "models/layers/image_resize.h"

namespace firn {
namespace {

// [1,to,from]
Tensor means(int from, int to, DType type, const Device& device) {
  std::vector<double> shares(size_t(from) * size_t(to));
  for (int i = 0; i < to; ++i) {
    const int begin = i * from / to, end = ((i + 1) * from + to - 1) / to;
    for (int k = begin; k < end; ++k) shares[size_t(i * from + k)] = 1.0 / (end - begin);
  }
  return Tensor::from(shares, {1, to, from}, type, device);
}

}  // namespace

ImageResize::ImageResize(int height, int width, int new_height, int new_width, DType type, const Device& device) {
  if (height == new_height && width == new_width) return;
  rows_ = means(height, new_height, type, device);
  columns_ = means(width, new_width, type, device);
}

Tensor ImageResize::operator()(const Tensor& x) const {
  if (!rows_.defined()) return x;
  const int64_t n = x.dim(0), c = x.dim(3), height = rows_.dim(1), width = columns_.dim(1);
  const Tensor tall = matmul(rows_, reshape(x, {n, x.dim(1), x.dim(2) * c}));
  return reshape(matmul(columns_, reshape(tall, {n * height, x.dim(2), c})), {n, height, width, c});
}

}  // namespace firn
