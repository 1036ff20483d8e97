#include "training/feed.h"

#include "base/error.h"
#include "kernels/device/memory.h"
#include "kernels/ops/control.h"

namespace firn {
namespace {

// y [N,H,W,C] <- images of `stored` that `items` lists, or the first N.
void decode(Tensor& y, const void* pixels, const int32_t* items, int64_t stored) {
  const Shape& s = y.shape();
  dispatch_acc(y.type(), [&](auto tag) {
    using T = decltype(tag);
    run(y.stream(), kernels::DecodePixels<T>{y.mutable_as<T>(), static_cast<const uint8_t*>(pixels), items, s[0],
                                             static_cast<int>(stored), static_cast<int>(s[1] * s[2]),
                                             static_cast<int>(s[2]), static_cast<int>(s[3])});
  });
}

}  // namespace

ImageFeed::ImageFeed(const Shape& shape, DType type, const Device& device)
    : images_(Tensor::empty(shape, type, device)), staging_(device.stream(), static_cast<size_t>(images_.count())) {}

const Tensor& ImageFeed::put(std::span<const uint8_t> pixels) {
  if (static_cast<int64_t>(pixels.size()) != images_.count())
    throw ShapeError(fmt::format("{} bytes do not fill images {}", pixels.size(), to_string(images_.shape())));
  decode(images_, staging_.put(std::as_bytes(pixels)), nullptr, images_.dim(0));
  return images_;
}

void Numbers::put(std::span<const int32_t> values) {
  if (static_cast<int64_t>(values.size()) != n_)
    throw ShapeError(fmt::format("{} numbers where {} belong", values.size(), n_));
  kernels::set_values(memory_.device.stream(), memory_.data, values);
}

void copy_rows(Tensor& to, const Tensor& from, const int32_t* to_rows, const int32_t* from_rows, int64_t n) {
  const auto words = static_cast<int>(static_cast<size_t>(to.count() / to.dim(0)) * size_of(to.type()) / 4);
  run(to.stream(), kernels::CopyRows{to.mutable_as<uint32_t>(), from.as<uint32_t>(), to_rows, from_rows, n, words});
}

ResidentImages::ResidentImages(const Shape& batch, int64_t count, DType type, const Device& device)
    : count_(count),
      images_(Tensor::empty(batch, type, device)),
      pixels_(device, static_cast<size_t>(count * images_.count() / batch[0])) {}

void ResidentImages::store(int64_t first, std::span<const uint8_t> pixels) {
  const size_t begin = static_cast<size_t>(first * images_.count() / images_.dim(0));
  if (begin + pixels.size() > pixels_.bytes)
    throw ShapeError(fmt::format("{} bytes from image {} on do not fit {} images", pixels.size(), first, count_));
  kernels::copy_from_host(images_.stream(), static_cast<std::byte*>(pixels_.data) + begin, pixels.data(),
                          pixels.size());
}

const Tensor& ResidentImages::put(const Numbers& items) {
  decode(images_, pixels_.data, items.data(), count_);
  return images_;
}

LabelFeed::LabelFeed(int64_t n, int classes, DType type, const Device& device)
    : one_hot_(classes ? Tensor::zeros({n, classes}, type, device) : Tensor{}), labels_(n, device) {}

const Tensor& LabelFeed::put(std::span<const int> labels) {
  if (!one_hot_.defined()) return one_hot_;
  labels_.put(labels);
  dispatch_acc(one_hot_.type(), [&](auto tag) {
    using T = decltype(tag);
    run(one_hot_.stream(),
        kernels::OneHot<T>{one_hot_.mutable_as<T>(), labels_.data(), one_hot_.dim(0), one_hot_.dim(1)});
  });
  return one_hot_;
}

Tensor one_hot(std::span<const int> labels, int classes, DType type, const Device& device) {
  return LabelFeed(static_cast<int64_t>(labels.size()), classes, type, device).put(labels);
}

}  // namespace firn
