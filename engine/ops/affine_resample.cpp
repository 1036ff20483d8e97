// Linear in the image: each of the two is the other's gradient, to any order.
#include "kernels/ops/affine_resample.h"

#include <algorithm>

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/operands.h"

namespace firn {

namespace {

// Of symlets of order 6 the low-pass, whose taps sum to 1.
constexpr double kSym6[] = {0.015404109327027373,  0.0034907120842174702, -0.11799011114819057,  -0.048311742585633,
                            0.4910559419267466,    0.787641141030194,     0.3379294217276218,    -0.07263752278646252,
                            -0.021060292512300564, 0.04472490177066578,   0.0017677118642428036, -0.007800708325034148};

std::vector<double> sym6(bool reversed) {
  double sum = 0;
  for (const double f : kSym6) sum += f;
  std::vector<double> taps;
  for (const double f : kSym6) taps.push_back(f / sum);
  if (reversed) std::reverse(taps.begin(), taps.end());
  return taps;
}

template <class T>
kernels::AffineResample<T> kernel(const Shape& x, const Tensor& matrix, const Reflection& pad) {
  kernels::AffineResample<T> k{
      nullptr, nullptr, matrix.as<T>(), x[0], x[3], {int(x[2]), pad.left, pad.right}, {int(x[1]), pad.top, pad.bottom},
      {}};
  const std::vector<double> taps = sym6(false);
  for (size_t i = 0; i < taps.size(); ++i) k.f[k.zeros + i] = static_cast<T>(taps[i]);
  return k;
}

Shape resampled_shape(const Shape& x) {
  constexpr int edge = kernels::AffineResample<float>::edge;
  return {x[0], 2 * (x[1] + edge), 2 * (x[2] + edge), x[3]};
}

// Of the image, whose shape is x; `of` is what the op is given.
Reflection checked(const char* op, const Tensor& of, const Shape& x, const Tensor& matrix, Reflection pad) {
  if (matrix.shape() != Shape{x[0], 2, 3} || matrix.type() != of.type())
    throw ShapeError(fmt::format("{}: expected a matrix {} of {}, got {} of {}", op, to_string({x[0], 2, 3}),
                                 name_of(of.type()), to_string(matrix.shape()), name_of(matrix.type())));
  const auto side = [&](int& pixels, int64_t size) {
    if (pixels < 0) pixels = int(size) - 1;
    if (pixels >= size)
      throw ShapeError(fmt::format("{}: {} pixels of an image {} cannot be reflected", op, pixels, to_string(x)));
  };
  side(pad.left, x[2]);
  side(pad.right, x[2]);
  side(pad.top, x[1]);
  side(pad.bottom, x[1]);
  return pad;
}

}  // namespace

Tensor affine_resample(const Tensor& x, const Tensor& matrix, Reflection pad) {
  ops::require("affine_resample", "x", x, ops::kImages);
  pad = checked("affine_resample", x, x.shape(), matrix, pad);
  Tensor y = x.like(resampled_shape(x.shape()));
  dispatch_acc(x.type(), [&](auto tag) {
    using T = decltype(tag);
    auto k = kernel<T>(x.shape(), matrix, pad);
    k.y = y.mutable_as<T>();
    k.x = x.as<T>();
    run(x.stream(), k);
  });
  return record("affine_resample", y, {{x, [matrix, pad, shape = x.shape()](const Tensor& gy, const Tensor&) {
                                          return affine_resample_transposed(gy, matrix, shape, pad);
                                        }}});
}

Tensor affine_resample_transposed(const Tensor& y, const Tensor& matrix, const Shape& x_shape, Reflection pad) {
  ops::require("affine_resample_transposed", "y", y, ops::kImages);
  if (x_shape.size() != 4 || y.shape() != resampled_shape(x_shape))
    throw ShapeError(fmt::format("affine_resample_transposed: {} is not what images {} give", to_string(y.shape()),
                                 to_string(x_shape)));
  pad = checked("affine_resample_transposed", y, x_shape, matrix, pad);
  Tensor x = y.like(x_shape);
  dispatch_acc(y.type(), [&](auto tag) {
    using T = decltype(tag);
    auto k = kernel<T>(x_shape, matrix, pad);
    k.y = const_cast<T*>(y.as<T>());  // only read
    if (y.stream().is_cuda)
      run(y.stream(), kernels::AffineGather<T>{k, x.mutable_as<T>()});
    else
      run(y.stream(), kernels::AffineScatter<T>{k, x.mutable_as<T>()});
  });
  return record("affine_resample_transposed", x,
                {{y, [matrix, pad](const Tensor& gx, const Tensor&) { return affine_resample(gx, matrix, pad); }}});
}

Tensor warp(const Tensor& x, const Tensor& matrix, Reflection pad) {
  return upfirdn2d(affine_resample(x, matrix, pad), {.taps = sym6(true), .down = 2});
}

}  // namespace firn
