#include "metrics/images/resize.h"

#include <algorithm>
#include <cmath>

namespace firn {
namespace {

// What a target pixel is made of, along one axis.
struct Taps {
  int first;
  std::vector<float> weights;
};

Taps bilinear_taps(float source, int from) {
  const int first = std::clamp(int(std::floor(source)), 0, from - 1);
  if (first + 1 >= from) return {first, {1}};
  const float share = std::clamp(source - float(first), 0.0f, 1.0f);
  return {first, {1 - share, share}};
}

double cubic(double x) {  // Keys' kernel with a = -0.5, as Pillow
  x = std::abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

Taps bicubic_taps(int target, double scale, int from) {
  const double stretch = std::max(scale, 1.0), centre = (target + 0.5) * scale, radius = 2 * stretch;
  const int first = std::max(0, int(centre - radius + 0.5)), last = std::min(from, int(centre + radius + 0.5));
  std::vector<double> weights;
  double sum = 0;
  for (int x = first; x < last; ++x) sum += weights.emplace_back(cubic((x - centre + 0.5) / stretch));
  Taps taps{first, {}};
  for (const double w : weights) taps.weights.push_back(float(w / sum));
  return taps;
}

std::vector<Taps> taps_of(int from, int to, Resizer resizer) {
  const float scale = float(from) / float(to);
  std::vector<Taps> taps;
  for (int i = 0; i < to; ++i)
    taps.push_back(resizer == Resizer::tensorflow ? bilinear_taps(float(i) * scale, from)
                   : resizer == Resizer::bilinear
                       ? bilinear_taps(std::max(0.0f, (float(i) + 0.5f) * scale - 0.5f), from)
                       : bicubic_taps(i, double(from) / to, from));
  return taps;
}

}  // namespace

const char* name_of(Resizer resizer) {
  return resizer == Resizer::tensorflow ? "tensorflow" : resizer == Resizer::bilinear ? "bilinear" : "bicubic";
}

std::vector<float> resized(const Image& given, int size, Resizer resizer) {
  const Image image = given.channels == 3 ? Image{} : to_channels(given, 3);
  const Image& rgb = given.channels == 3 ? given : image;
  const int width = rgb.width, height = rgb.height;
  std::vector<float> out(size_t(size) * size_t(size) * 3);
  if (width == size && height == size) {
    std::ranges::copy(rgb.pixels, out.begin());
    return out;
  }
  const auto across = taps_of(width, size, resizer), down = taps_of(height, size, resizer);
  std::vector<float> rows(size_t(height) * size_t(size) * 3);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < size; ++x) {
      const Taps& t = across[size_t(x)];
      float* to = &rows[(size_t(y) * size_t(size) + size_t(x)) * 3];
      const uint8_t* from = rgb.at(t.first, y);
      for (size_t k = 0; k < t.weights.size(); ++k)
        for (int c = 0; c < 3; ++c) to[c] += t.weights[k] * float(from[k * 3 + size_t(c)]);
    }
  const size_t line = size_t(size) * 3;
  for (int y = 0; y < size; ++y) {
    const Taps& t = down[size_t(y)];
    float* to = &out[size_t(y) * line];
    for (size_t k = 0; k < t.weights.size(); ++k) {
      const float* from = &rows[(size_t(t.first) + k) * line];
      for (size_t i = 0; i < line; ++i) to[i] += t.weights[k] * from[i];
    }
  }
  return out;
}

}  // namespace firn
