#include "models/sampling.h"

#include <algorithm>
#include <functional>

namespace firn {

Code slice(const Code& code, int64_t begin, int64_t end) {
  return {slice(code.values, 0, begin, end), code.labels.defined() ? slice(code.labels, 0, begin, end) : Tensor{}};
}

void sample(const Generator& g, int64_t count, const std::function<Code(int64_t)>& code, const SampleOptions& options,
            const std::function<void(const Tensor&)>& use) {
  const NoGrad no_grad;
  const bool random = options.noise.mode == NoiseMode::random;
  const int64_t batch = random ? 1 : options.batch;
  for (int64_t begin = 0; begin < count; begin += batch) {
    std::vector<Tensor> values, labels;
    for (int64_t i = begin; i < std::min(begin + batch, count); ++i) {
      const Code one = code(i);
      values.push_back(one.values);
      if (one.labels.defined()) labels.push_back(one.labels);
    }
    Rng rng = random ? options.rng(begin) : Rng{};
    Noise noise = random ? Noise(&rng) : options.noise;
    for (Tensor& map : noise.maps) map = slice(map, 0, begin, std::min(begin + batch, count));
    use(g.image({concat(values, 0), labels.empty() ? Tensor{} : concat(labels, 0)}, noise));
  }
}

std::vector<Image> to_images(const Tensor& nhwc) {
  const std::vector<float> values = nhwc.to_floats();
  const int h = int(nhwc.dim(1)), w = int(nhwc.dim(2)), c = int(nhwc.dim(3));
  const size_t size = size_t(h) * size_t(w) * size_t(c);
  std::vector<Image> images;
  for (size_t begin = 0; begin < values.size(); begin += size)
    images.push_back(image_from_floats(std::span(values).subspan(begin, size), h, w, c));
  return images;
}

std::vector<int> sampled_classes(int classes, const std::vector<int64_t>& counts) {
  std::vector<int> all;
  const bool known = std::ssize(counts) == classes && std::ranges::any_of(counts, std::identity{});
  for (int c = 0; c < classes; ++c)
    if (!known || counts[size_t(c)] > 0) all.push_back(c);
  return all;
}

}  // namespace firn
