// What the metrics by perceptual distances share.
#pragma once
#include "metrics/metric.h"
#include "models/features/lpips.h"

namespace firn {

// Bytes as [1,H,W,3] in [-1,1].
Tensor perceived(const Image& image, const Device& device);
Tensor perceived(std::span<const MeasuredImage> images, const Device& device);  // all of one size

// Images of a set, kept in memory: distances are of pairs.
std::vector<MeasuredImage> all_images(const ImageSet& images, int64_t count);

// distance[i] of pairs of numbers into a and b.
std::vector<double> distances(const Lpips& lpips, const Device& device, const std::vector<MeasuredImage>& a,
                              const std::vector<MeasuredImage>& b,
                              const std::vector<std::pair<int64_t, int64_t>>& pairs);

}  // namespace firn
