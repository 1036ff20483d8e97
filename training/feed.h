// What a training step takes from the host, in tensors that stay the same, so that a recorded phase finds it. The
// host runs at most a few batches ahead of the device.
#pragma once
#include <cstdint>
#include <span>

#include "engine/tensor.h"
#include "kernels/device/staging.h"

namespace firn {

// n integers in device memory, set in the order of the stream.
class Numbers {
 public:
  Numbers(int64_t n, const Device& device) : n_(n), memory_(device, static_cast<size_t>(n) * sizeof(int32_t)) {}
  int64_t size() const { return n_; }
  const int32_t* data() const { return static_cast<const int32_t*>(memory_.data); }
  void put(std::span<const int32_t> values);  // n of them

 private:
  int64_t n_;
  Storage memory_;
};

// to[to_rows[i]] <- from[from_rows[i]] for i below n; a null list: row i. Rows fill whole 32-bit words.
void copy_rows(Tensor& to, const Tensor& from, const int32_t* to_rows, const int32_t* from_rows, int64_t n);

// Batches of 8-bit images from the host, in [-1,1].
class ImageFeed {
 public:
  ImageFeed(const Shape& shape, DType type, const Device& device);  // [N,H,W,C], f32 or f64
  const Tensor& images() const { return images_; }
  // Fills images() with v / 127.5 - 1. ShapeError unless pixels.size() fits the shape.
  const Tensor& put(std::span<const uint8_t> pixels);

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
  const Tensor& put(const Numbers& items);

 private:
  int64_t count_;
  Tensor images_;
  Storage pixels_;
};

// Class labels, one-hot.
class LabelFeed {
 public:
  LabelFeed(int64_t n, int classes, DType type, const Device& device);
  const Tensor& one_hot() const { return one_hot_; }  // [n,classes]; undefined for 0 classes
  const Tensor& put(std::span<const int> labels);     // n of them, each below `classes`; ignored for 0 classes

 private:
  Tensor one_hot_;
  Numbers labels_;
};

Tensor one_hot(std::span<const int> labels, int classes, DType type, const Device& device);  // undefined for 0 classes

}  // namespace firn
