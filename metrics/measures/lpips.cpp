// Diversity by perceptual distances (LPIPS, Zhang et al. 2018, arXiv 1801.03924): the mean over pairs of generated
// images, and within clusters around the training images as few-shot papers report it (Ojha et al. 2021, arXiv
// 2104.06820).
#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "base/error.h"
#include "metrics/measures/measures.h"
#include "metrics/measures/perceptual.h"

namespace firn {
namespace {

constexpr size_t kAtOnce = 16;  // pairs

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / double(values.size());
}

double deviation_of(const std::vector<double>& values) {
  const double mean = mean_of(values);
  double sum = 0;
  for (const double v : values) sum += (v - mean) * (v - mean);
  return std::sqrt(sum / double(values.size()));
}

using Pairs = std::vector<std::pair<int64_t, int64_t>>;

// Pairs of different numbers below n: all where there are no more than `most`.
Pairs pairs_below(int64_t n, int64_t most, std::mt19937_64& random) {
  Pairs pairs;
  if (n * (n - 1) / 2 <= most) {
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = i + 1; j < n; ++j) pairs.emplace_back(i, j);
    return pairs;
  }
  while (std::ssize(pairs) < most) {
    const auto i = int64_t(random() % uint64_t(n)), j = int64_t(random() % uint64_t(n - 1));
    pairs.emplace_back(i, j + (j >= i));
  }
  return pairs;
}

}  // namespace

Tensor perceived(std::span<const MeasuredImage> images, const Device& device) {
  std::vector<float> values;
  const Image first = to_channels(images[0].image, 3);
  for (const MeasuredImage& m : images) {
    const Image rgb = to_channels(m.image, 3);
    if (rgb.width != first.width || rgb.height != first.height)
      throw ConfigError("perceptual distances are of images of one size; --resize makes them so");
    for (const uint8_t v : rgb.pixels) values.push_back(float(v) / 127.5f - 1);
  }
  return Tensor::from(std::span<const float>(values), {std::ssize(images), first.height, first.width, 3}, DType::f32,
                      device);
}

std::vector<MeasuredImage> all_images(const ImageSet& images, int64_t count) {
  std::vector<MeasuredImage> all;
  images.read(count, [&](std::span<const MeasuredImage> some) { all.insert(all.end(), some.begin(), some.end()); });
  return all;
}

std::vector<double> distances(const Lpips& lpips, const Device& device, const std::vector<MeasuredImage>& a,
                              const std::vector<MeasuredImage>& b, const Pairs& pairs) {
  const NoGrad no_grad;
  std::vector<double> all;
  for (size_t begin = 0; begin < pairs.size(); begin += kAtOnce) {
    std::vector<MeasuredImage> left, right;
    for (size_t i = begin; i < begin + kAtOnce; ++i) {  // batches of one size
      const auto& [l, r] = pairs[std::min(i, pairs.size() - 1)];
      left.push_back(a[size_t(l)]);
      right.push_back(b[size_t(r)]);
    }
    const std::vector<double> some = lpips(perceived(left, device), perceived(right, device)).to_doubles();
    all.insert(all.end(), some.begin(), some.begin() + std::ptrdiff_t(std::min(kAtOnce, pairs.size() - begin)));
  }
  return all;
}

Metric lpips_diversity() {
  return {.name = "lpips",
          .title = "perceptual distance between generated images",
          .also = {"lpips_diversity", "LearnedPerceptualImagePatchSimilarity"},
          .values = {{"", Better::higher}, {"_std", Better::neither}},
          .network = "vgg16",
          .fakes = 1000,
          .needs_reals = false,
          .needs_lpips = true,
          .measure = [](const MetricName& n, Material& m) {
            const FeatureNetwork& network = m.network(n);
            const Lpips lpips(network, m.lpips_heads(n));
            const std::vector<MeasuredImage> fakes = all_images(m.fake_images(), n.fakes);
            if (fakes.size() < 2) throw Error("a distance between images needs two of them");
            std::mt19937_64 random(0);
            const auto all = distances(lpips, network.device(), fakes, fakes,
                                       pairs_below(std::ssize(fakes), std::ssize(fakes), random));
            return std::vector{mean_of(all), deviation_of(all)};
          }};
}

// Each generated image belongs to the training image that it is nearest to; the mean over clusters of the mean distance
// within each (at most 50 pairs), and the deviation over clusters. Clusters of one image count nothing.
Metric intra() {
  return {.name = "intralpips",
          .title = "perceptual distance within clusters around the training images",
          .also = {"intra_lpips", "intra-lpips"},
          .values = {{"", Better::higher}, {"_std", Better::neither}},
          .network = "vgg16",
          .fakes = 1000,
          .needs_lpips = true,
          .measure = [](const MetricName& n, Material& m) {
            const FeatureNetwork& network = m.network(n);
            const Lpips lpips(network, m.lpips_heads(n));
            const std::vector<MeasuredImage> fakes = all_images(m.fake_images(), n.fakes),
                                             reals = all_images(m.real_images(n), m.real_count(n));
            if (std::ssize(reals) * std::ssize(fakes) > 10'000'000)
              throw ConfigError(
                  "distances within clusters are for small sets: a name with a smaller count compares "
                  "with as many training images");
            std::map<int64_t, std::vector<int64_t>> clusters;
            for (int64_t i = 0; i < std::ssize(fakes); ++i) {
              Pairs pairs;
              for (int64_t j = 0; j < std::ssize(reals); ++j) pairs.emplace_back(i, j);
              const auto near = distances(lpips, network.device(), fakes, reals, pairs);
              clusters[std::ranges::min_element(near) - near.begin()].push_back(i);
            }
            std::mt19937_64 random(0);
            std::vector<double> within;
            for (const auto& [centre, members] : clusters) {
              if (members.size() < 2) continue;
              Pairs pairs = pairs_below(std::ssize(members), 50, random);
              for (auto& [i, j] : pairs) std::tie(i, j) = std::pair(members[size_t(i)], members[size_t(j)]);
              within.push_back(mean_of(distances(lpips, network.device(), fakes, fakes, pairs)));
            }
            if (within.empty()) throw Error("no two generated images are near to one training image");
            return std::vector{mean_of(within), deviation_of(within)};
          }};
}

}  // namespace firn
