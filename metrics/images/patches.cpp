#include "metrics/images/patches.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace firn {
namespace {

constexpr int kSide = 7, kLeast = 16;  // pixels: of a patch, of the last level

struct Plane {  // [height,width,3]
  int width, height;
  std::vector<float> values;
  Plane(int width, int height) : width(width), height(height), values(size_t(width) * size_t(height) * 3) {}
  float* at(int x, int y) { return &values[(size_t(y) * size_t(width) + size_t(x)) * 3]; }
  const float* at(int x, int y) const { return &values[(size_t(y) * size_t(width) + size_t(x)) * 3]; }
};

int mirrored(int i, int n) {  // about the centres of the outermost pixels
  if (n == 1) return 0;
  i = std::abs(i) % (2 * n - 2);
  return i < n ? i : 2 * n - 2 - i;
}

constexpr float kBinomial[] = {1 / 16.0f, 4 / 16.0f, 6 / 16.0f, 4 / 16.0f, 1 / 16.0f};

Plane halved(const Plane& from) {
  Plane across(from.width / 2, from.height), to(from.width / 2, from.height / 2);
  for (int y = 0; y < across.height; ++y)
    for (int x = 0; x < across.width; ++x)
      for (int k = 0; k < 5; ++k)
        for (int c = 0; c < 3; ++c)
          across.at(x, y)[c] += kBinomial[k] * from.at(mirrored(2 * x + k - 2, from.width), y)[c];
  for (int y = 0; y < to.height; ++y)
    for (int x = 0; x < to.width; ++x)
      for (int k = 0; k < 5; ++k)
        for (int c = 0; c < 3; ++c)
          to.at(x, y)[c] += kBinomial[k] * across.at(x, mirrored(2 * y + k - 2, from.height))[c];
  return to;
}

// The same filter on zeros between the pixels, times 4.
Plane doubled(const Plane& from, int width, int height) {
  Plane across(width, from.height), to(width, height);
  for (int y = 0; y < from.height; ++y)
    for (int x = 0; x < width; ++x)
      for (int k = 0; k < 5; ++k)
        if (const int at = mirrored(x + k - 2, width); at % 2 == 0 && at / 2 < from.width)
          for (int c = 0; c < 3; ++c) across.at(x, y)[c] += 2 * kBinomial[k] * from.at(at / 2, y)[c];
  for (int y = 0; y < height; ++y)
    for (int k = 0; k < 5; ++k)
      if (const int at = mirrored(y + k - 2, height); at % 2 == 0 && at / 2 < from.height)
        for (int x = 0; x < width; ++x)
          for (int c = 0; c < 3; ++c) to.at(x, y)[c] += 2 * kBinomial[k] * across.at(x, at / 2)[c];
  return to;
}

std::vector<Plane> laplacian_pyramid(const Image& given) {
  const Image image = to_channels(given, 3);
  Plane rest(image.width, image.height);
  std::ranges::copy(image.pixels, rest.values.begin());
  std::vector<Plane> levels;
  while (std::min(rest.width, rest.height) >= 2 * kLeast) {
    Plane smaller = halved(rest);
    const Plane rough = doubled(smaller, rest.width, rest.height);
    for (size_t i = 0; i < rest.values.size(); ++i) rest.values[i] -= rough.values[i];
    levels.push_back(std::exchange(rest, std::move(smaller)));
  }
  levels.push_back(std::move(rest));
  return levels;
}

void normalise_channels(Matrix& m) {
  for (int c = 0; c < 3; ++c) {
    double sum = 0, square = 0;
    const double n = double(m.values.size() / 3);
    for (size_t i = size_t(c); i < m.values.size(); i += 3) sum += m.values[i] / n;
    for (size_t i = size_t(c); i < m.values.size(); i += 3) square += (m.values[i] - sum) * (m.values[i] - sum) / n;
    const double deviation = square > 0 ? std::sqrt(square) : 1;
    for (size_t i = size_t(c); i < m.values.size(); i += 3) m.values[i] = (m.values[i] - sum) / deviation;
  }
}

}  // namespace

Patches pyramid_patches(const ImageSet& images, int64_t count, int64_t patches, uint64_t seed) {
  count = std::min({count, images.size(), patches});  // more images than patches would be read for nothing
  if (count < 1) throw Error(fmt::format("{}: there is no image to measure", images.name()));
  const int64_t of_each = (patches + count - 1) / count;
  Patches all;
  std::mt19937_64 random(seed);
  images.read(count, [&](std::span<const MeasuredImage> some) {
    for (const MeasuredImage& one : some) {
      if (std::min(one.image.width, one.image.height) < kSide)
        throw ConfigError(fmt::format("{}: images of {}x{} are too small for patches of 7x7", images.name(),
                                      one.image.width, one.image.height));
      const std::vector<Plane> pyramid = laplacian_pyramid(one.image);
      if (!all.sizes.empty() && pyramid.size() != all.levels.size())
        throw ConfigError(fmt::format("{}: {}x{} has other scales than {}x{} before it", images.name(), one.image.width,
                                      one.image.height, all.sizes.begin()->first, all.sizes.begin()->second));
      all.levels.resize(pyramid.size());
      all.sizes.emplace(one.image.width, one.image.height);
      for (size_t l = 0; l < pyramid.size(); ++l) {
        const Plane& p = pyramid[l];
        Matrix& to = all.levels[l];
        to.columns = kSide * kSide * 3;
        for (int64_t i = 0; i < of_each; ++i, ++to.rows) {
          const int x = int(random() % uint64_t(p.width - kSide + 1)),
                    y = int(random() % uint64_t(p.height - kSide + 1));
          for (int r = 0; r < kSide; ++r) to.values.insert(to.values.end(), p.at(x, y + r), p.at(x, y + r) + kSide * 3);
        }
      }
    }
  });
  if (all.levels.empty()) throw Error(fmt::format("{}: there is no image to measure", images.name()));
  for (Matrix& level : all.levels) normalise_channels(level);
  return all;
}

}  // namespace firn
