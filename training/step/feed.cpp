#include "training/step/feed.h"

#include <limits>

#include "base/error.h"
#include "kernels/device/memory.h"
#include "kernels/ops/control.h"

namespace firn {
namespace {

// y [N,H,W,C], n of them from `first` on <- images of `stored` that `items` lists, or the first n.
void decode(Tensor& y, int64_t first, int64_t n, const void* pixels, const int32_t* items, int64_t stored) {
  const Shape& s = y.shape();
  dispatch_acc(y.type(), [&](auto tag) {
    using T = decltype(tag);
    T* const to = y.mutable_as<T>() + first * (y.count() / s[0]);
    run(y.stream(),
        kernels::DecodePixels<T>{to, static_cast<const uint8_t*>(pixels), items, n, static_cast<int>(stored),
                                 static_cast<int>(s[1] * s[2]), static_cast<int>(s[2]), static_cast<int>(s[3])});
  });
}

Tensor batch_of(const Shape& shape, DType type, const Device& device) {
  dispatch_acc(type, [](auto) {});  // ShapeError for what cannot be decoded to
  if (shape.size() != 4) throw ShapeError(fmt::format("images are [N,H,W,C], not {}", to_string(shape)));
  return Tensor::full(shape, std::numeric_limits<double>::quiet_NaN(), type, device);
}

}  // namespace

ImageFeed::ImageFeed(const Shape& shape, DType type, const Device& device)
    : images_(batch_of(shape, type, device)), staging_(device.stream(), static_cast<size_t>(images_.count())) {}

const Tensor& ImageFeed::put(std::span<const uint8_t> pixels, int64_t first) {
  const int64_t image = images_.count() / images_.dim(0), n = std::ssize(pixels) / image;
  if (n < 1 || n * image != std::ssize(pixels) || first < 0 || first + n > images_.dim(0))
    throw ShapeError(fmt::format("{} bytes do not fill images {} from number {} on", pixels.size(),
                                 to_string(images_.shape()), first));
  decode(images_, first, n, staging_.put(std::as_bytes(pixels)), nullptr, n);
  return images_;
}

void copy_rows(Tensor& to, const Tensor& from, const int32_t* to_rows, const int32_t* from_rows, int64_t n) {
  const auto words = static_cast<int>(static_cast<size_t>(to.count() / to.dim(0)) * size_of(to.type()) / 4);
  run(to.stream(),
      kernels::CopyRows{static_cast<uint32_t*>(to.mutable_data()), static_cast<const uint32_t*>(from.data()), to_rows,
                        from_rows, n, to.dim(0), from.dim(0), words});
}

ResidentImages::ResidentImages(const Shape& batch, int64_t count, DType type, const Device& device)
    : count_(count),
      images_(batch_of(batch, type, device)),
      pixels_(device, static_cast<size_t>(count * images_.count() / batch[0])) {}

void ResidentImages::store(int64_t first, std::span<const uint8_t> pixels) {
  const size_t begin = static_cast<size_t>(first * images_.count() / images_.dim(0));
  if (begin + pixels.size() > pixels_.bytes)
    throw ShapeError(fmt::format("{} bytes from image {} on do not fit {} images", pixels.size(), first, count_));
  kernels::copy_from_host(images_.stream(), static_cast<std::byte*>(pixels_.data) + begin, pixels.data(),
                          pixels.size());
}

const Tensor& ResidentImages::put(const Tensor& items) {
  if (items.count() != images_.dim(0))
    throw ShapeError(fmt::format("{} items do not fill images {}", items.count(), to_string(images_.shape())));
  decode(images_, 0, images_.dim(0), pixels_.data, items.as<int32_t>(), count_);
  return images_;
}

LabelFeed::LabelFeed(int64_t n, int classes, const Device& device)
    : classes_(classes), labels_(classes ? Tensor::zeros({n}, DType::i32, device) : Tensor{}) {}

const Tensor& LabelFeed::put(std::span<const int> labels) {
  if (!labels_.defined()) return labels_;
  for (const int label : labels)
    if (label < 0 || label >= classes_)
      throw ShapeError(fmt::format("label {} where there are {} classes", label, classes_));
  labels_.put(labels);
  return labels_;
}

Tensor class_labels(std::span<const int> labels, int classes, const Device& device) {
  return LabelFeed(static_cast<int64_t>(labels.size()), classes, device).put(labels);
}

}  // namespace firn
