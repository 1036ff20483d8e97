// What a training step takes from the host, in tensors that stay the same, so that a recorded phase finds it. The
// host runs at most a few batches ahead of the device.
#pragma once
#include <cstdint>
#include <span>

#include "engine/tensor.h"
#include "kernels/staging.h"

namespace firn {

// Batches of 8-bit images, in [-1,1].
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

// Class labels, one-hot.
class LabelFeed {
 public:
  LabelFeed(int64_t n, int classes, DType type, const Device& device);
  const Tensor& one_hot() const { return one_hot_; }  // [n,classes]; undefined for 0 classes
  const Tensor& put(std::span<const int> labels);     // n of them, each below `classes`; ignored for 0 classes

 private:
  Tensor one_hot_, labels_;  // labels_: int32 in the place of f32
};

}  // namespace firn
