// What a training step takes from the host, in tensors that stay the same, so that a recorded phase finds it. The
// host runs at most a few batches ahead of the device.
#pragma once
#include <cstdint>
#include <span>

#include "engine/tree_sum.h"
#include "kernels/device/staging.h"

namespace firn {

// to[to_rows[i]] <- from[from_rows[i]] for i below n; a null list: row i. Rows fill whole 32-bit words; those that are
// not there are left out.
void copy_rows(Tensor& to, const Tensor& from, const int32_t* to_rows, const int32_t* from_rows, int64_t n);

// Batches of 8-bit images from the host, in [-1,1].
class ImageFeed {
 public:
  ImageFeed(const Shape& shape, DType type, const Device& device);  // [N,H,W,C], f32 or f64
  const Tensor& images() const { return images_; }
  // Fills images() from that one on with v / 127.5 - 1; the rest stays as it is, which at first is NaN. ShapeError for
  // other than whole images that fit.
  const Tensor& put(std::span<const uint8_t> pixels, int64_t first = 0);

 private:
  Tensor images_;
  kernels::Staging staging_;
};

// A set of 8-bit images in device memory, and batches of it in [-1,1].
class ResidentImages {
 public:
  ResidentImages(const Shape& batch, int64_t count, DType type, const Device& device);  // batch [N,H,W,C]
  const Tensor& images() const { return images_; }
  void store(int64_t first, std::span<const uint8_t> pixels);  // whole images from number `first` on
  // Fills images(): items from `count` on are items 0, 1, ... mirrored.
  const Tensor& put(const Tensor& items);  // [N] i32

 private:
  int64_t count_;
  Tensor images_;
  Storage pixels_;
};

// The same of a set that does not fit one device: each process keeps a part of it, and sends others what they ask for.
class ShardedImages {
 public:
  // batch [N,H,W,C], f32 or f64; `count` images in all.
  ShardedImages(const Shape& batch, int64_t count, DType type, const Device& device, Communicator& processes);
  const Tensor& images() const { return images_; }
  Leaves own() const { return own_; }  // numbers of the images that this process keeps
  // Of those, whole images from number `first` on; ShapeError for others.
  void store(int64_t first, std::span<const uint8_t> pixels);
  // Fills rows[r] of images() on each process r, which all call it with the same N items, numbers as for
  // ResidentImages, and rows. The errors of Communicator::exchange.
  const Tensor& put(std::span<const int32_t> items, std::span<const Leaves> rows);

 private:
  uint8_t* kept(int64_t number) const;
  Communicator& processes_;
  int64_t count_, image_;  // images in all; bytes of one
  Leaves own_;
  Tensor images_, mirrored_;  // [N] i32: whether an image is
  Storage kept_, arrived_;    // of arrived_, as many images as a batch has
};

// Class labels.
class LabelFeed {
 public:
  LabelFeed(int64_t n, int classes, const Device& device);
  const Tensor& labels() const { return labels_; }  // [n] i32; undefined for 0 classes
  // n of them, ignored for 0 classes; ShapeError for one that is no class.
  const Tensor& put(std::span<const int> labels);

 private:
  int classes_;
  Tensor labels_;
};

Tensor class_labels(std::span<const int> labels, int classes, const Device& device);  // undefined for 0 classes

}  // namespace firn
