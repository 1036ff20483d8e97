// Transforms of each image by numbers of its own. All are linear, so that each gradient is the transpose.
#include "kernels/ops/image_transforms.h"

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/operands.h"

namespace firn {

namespace {

// Numbers [N,...] of the images' type.
void require_numbers(const char* op, const Tensor& x, const Tensor& numbers, const Shape& shape) {
  ops::require(op, "x", x, ops::kImages);
  dispatch_acc(x.type(), [](auto) {});
  if (numbers.shape() != shape || numbers.type() != x.type())
    throw ShapeError(fmt::format("{}: expected numbers {} of {}, got {} of {}", op, to_string(shape), name_of(x.type()),
                                 to_string(numbers.shape()), name_of(numbers.type())));
}

Tensor mixed(const Tensor& x, const Tensor& m, bool transposed, bool offset) {
  Tensor y = x.like();
  dispatch_acc(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(), kernels::MixChannels<T>{y.mutable_as<T>(), x.as<T>(), m.as<T>(), x.dim(0), x.dim(1) * x.dim(2),
                                            x.dim(3), transposed, offset});
  });
  return record("mix_channels", y,
                {{x, [m, transposed](const Tensor& gy, const Tensor&) { return mixed(gy, m, !transposed, false); }}});
}

Tensor shifted(const Tensor& x, const Tensor& by, int sign) {
  Tensor y = x.like();
  dispatch_acc(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(), kernels::ShiftPixels<T>{y.mutable_as<T>(), x.as<T>(), by.as<T>(), x.dim(0), x.dim(1), x.dim(2),
                                            x.dim(3), sign});
  });
  return record("shift_pixels", y,
                {{x, [by, sign](const Tensor& gy, const Tensor&) { return shifted(gy, by, -sign); }}});
}

Tensor filtered(const Tensor& x, const Tensor& taps, bool along_rows, bool transposed) {
  Tensor y = x.like();
  dispatch_acc(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(),
        kernels::FilterReflected<T>{y.mutable_as<T>(), x.as<T>(), taps.as<T>(), x.dim(0), x.dim(1), x.dim(2), x.dim(3),
                                    static_cast<int>(taps.dim(1)), along_rows, transposed});
  });
  return record("filter_reflected", y, {{x, [taps, along_rows, transposed](const Tensor& gy, const Tensor&) {
                                           return filtered(gy, taps, along_rows, !transposed);
                                         }}});
}

}  // namespace

Tensor mix_channels(const Tensor& x, const Tensor& m) {
  ops::require("mix_channels", "x", x, ops::kImages);
  const int64_t C = x.dim(3);
  if (C > kernels::MixChannels<float>::most)
    throw ShapeError(fmt::format("mix_channels: x {} has more than {} channels", to_string(x.shape()),
                                 kernels::MixChannels<float>::most));
  require_numbers("mix_channels", x, m, {x.dim(0), C, C + 1});
  return mixed(x, m, false, true);
}

Tensor shift_pixels(const Tensor& x, const Tensor& by) {
  ops::require("shift_pixels", "x", x, ops::kImages);
  require_numbers("shift_pixels", x, by, {x.dim(0), 2});
  return shifted(x, by, 1);
}

Tensor cut_out(const Tensor& x, const Tensor& box) {
  ops::require("cut_out", "x", x, ops::kImages);
  require_numbers("cut_out", x, box, {x.dim(0), 4});
  Tensor y = x.like();
  dispatch_acc(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(),
        kernels::CutOut<T>{y.mutable_as<T>(), x.as<T>(), box.as<T>(), x.dim(0), x.dim(1), x.dim(2), x.dim(3)});
  });
  return record("cut_out", y, {{x, [box](const Tensor& gy, const Tensor&) { return cut_out(gy, box); }}});
}

Tensor filter_reflected(const Tensor& x, const Tensor& taps) {
  ops::require("filter_reflected", "x", x, ops::kImages);
  ops::require("filter_reflected", "taps", taps, ops::kRows);
  require_numbers("filter_reflected", x, taps, {x.dim(0), taps.dim(1)});
  if (taps.dim(1) % 2 == 0)
    throw ShapeError(fmt::format("filter_reflected: expected an odd number of taps, got {}", taps.dim(1)));
  return filtered(filtered(x, taps, true, false), taps, false, false);
}

}  // namespace firn
