// From codes to 8-bit images.
#pragma once
#include <functional>
#include <vector>

#include "io/images.h"
#include "models/network.h"

namespace firn {

struct SampleOptions {
  Noise noise = {};                 // NoiseMode::given: maps [count,H,W], of all images
  std::function<Rng(int64_t)> rng;  // of an image, for NoiseMode::random, which makes one image at a time
  int batch = 16;                   // at once
};

// Images [n,H,W,C] of code(0), ..., code(count - 1), each of one image, `batch` at a time, without a tape; each batch
// goes to `use` and is then forgotten.
void sample(const Generator& g, int64_t count, const std::function<Code(int64_t)>& code, const SampleOptions& options,
            const std::function<void(const Tensor&)>& use);

Code slice(const Code& code, int64_t begin, int64_t end);

std::vector<Image> to_images(const Tensor& nhwc);  // [-1,1] to bytes

// Those that had images, of a count for each; all where that is not known.
std::vector<int> sampled_classes(int classes, const std::vector<int64_t>& counts);

}  // namespace firn
