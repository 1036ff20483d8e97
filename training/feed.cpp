#include "training/feed.h"

#include "kernels/control.h"
#include "kernels/error.h"

namespace firn {

ImageFeed::ImageFeed(const Shape& shape, DType type, const Device& device)
    : images_(Tensor::empty(shape, type, device)), staging_(device.stream(), static_cast<size_t>(images_.count())) {}

const Tensor& ImageFeed::put(std::span<const uint8_t> pixels) {
  if (static_cast<int64_t>(pixels.size()) != images_.count())
    throw ShapeError(fmt::format("{} bytes do not fill images {}", pixels.size(), to_string(images_.shape())));
  const auto* bytes = static_cast<const uint8_t*>(staging_.put(std::as_bytes(pixels)));
  dispatch_acc(images_.type(), [&](auto tag) {
    using T = decltype(tag);
    run(images_.stream(), kernels::DecodePixels<T>{images_.mutable_as<T>(), bytes, images_.count()});
  });
  return images_;
}

LabelFeed::LabelFeed(int64_t n, int classes, DType type, const Device& device) {
  if (classes == 0) return;
  one_hot_ = Tensor::zeros({n, classes}, type, device);
  labels_ = Tensor::zeros({n}, DType::f32, device);
}

const Tensor& LabelFeed::put(std::span<const int> labels) {
  if (!one_hot_.defined()) return one_hot_;
  if (static_cast<int64_t>(labels.size()) != labels_.count())
    throw ShapeError(fmt::format("{} labels do not fill one-hot {}", labels.size(), to_string(one_hot_.shape())));
  kernels::set_values<int>(labels_.stream(), labels_.mutable_data(), labels);
  dispatch_acc(one_hot_.type(), [&](auto tag) {
    using T = decltype(tag);
    run(one_hot_.stream(), kernels::OneHot<T>{one_hot_.mutable_as<T>(), static_cast<const int32_t*>(labels_.data()),
                                              one_hot_.dim(0), one_hot_.dim(1)});
  });
  return one_hot_;
}

}  // namespace firn
