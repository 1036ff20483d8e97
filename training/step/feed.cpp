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

ShardedImages::ShardedImages(const Shape& batch, int64_t count, DType type, const Device& device,
                             Communicator& processes)
    : processes_(processes),
      count_(count),
      image_(firn::count(batch) / batch[0]),
      own_(share_of(count, processes.rank(), processes.size())),
      images_(batch_of(batch, type, device)),
      mirrored_(Tensor::zeros({batch[0]}, DType::i32, device)),
      kept_(device, static_cast<size_t>(own_.count() * image_)),
      arrived_(device, static_cast<size_t>(batch[0] * image_)) {}

uint8_t* ShardedImages::kept(int64_t number) const {
  return static_cast<uint8_t*>(kept_.data) + (number - own_.first) * image_;
}

void ShardedImages::store(int64_t first, std::span<const uint8_t> pixels) {
  if (first < own_.first || first * image_ + std::ssize(pixels) > own_.last * image_)
    throw ShapeError(fmt::format("{} bytes from image {} on are not of images {} to {}", pixels.size(), first,
                                 own_.first, own_.last));
  kernels::copy_from_host(images_.stream(), kept(first), pixels.data(), pixels.size());
}

const Tensor& ShardedImages::put(std::span<const int32_t> items, std::span<const Leaves> rows) {
  const Leaves mine = rows[static_cast<size_t>(processes_.rank())];
  std::vector<int32_t> mirrored(items.size());
  std::vector<const uint8_t*> sources;
  std::vector<Communicator::Piece> sends, receives;
  for (int64_t row = mine.first; row < mine.last; ++row) {
    const auto item = items[static_cast<size_t>(row)], number = static_cast<int32_t>(item % count_);
    mirrored[static_cast<size_t>(row)] = item >= count_;
    if (number >= own_.first && number < own_.last) {
      sources.push_back(kept(number));
      continue;
    }
    int owner = 0;
    while (number >= share_of(count_, owner, processes_.size()).last) ++owner;
    uint8_t* const place = static_cast<uint8_t*>(arrived_.data) + row * image_;
    receives.push_back({owner, place, static_cast<size_t>(image_)});
    sources.push_back(place);
  }
  for (int r = 0; r < processes_.size(); ++r)
    for (int64_t row = rows[static_cast<size_t>(r)].first; row < rows[static_cast<size_t>(r)].last; ++row) {
      const int64_t number = items[static_cast<size_t>(row)] % count_;
      if (r != processes_.rank() && number >= own_.first && number < own_.last)
        sends.push_back({r, kept(number), static_cast<size_t>(image_)});
    }
  mirrored_.put(mirrored);
  processes_.exchange(images_.stream(), sends, receives)->wait();
  for (int64_t row = mine.first; row < mine.last; ++row)
    decode(images_, row, 1, sources[static_cast<size_t>(row - mine.first)], mirrored_.as<int32_t>() + row, 1);
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
