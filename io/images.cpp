#include "io/images.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/text.h"

namespace firn {
namespace {

uint8_t to_byte(float v) { return v > 0 ? uint8_t(std::nearbyint(std::min(v, 255.0f))) : uint8_t(0); }  // NaN: 0

// ITU-R 601 in 16-bit fixed point, as Pillow converts to "L".
uint8_t luminance(const uint8_t* rgb) {
  return uint8_t((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

void lay_over(uint8_t* rgb, int alpha, const Background& background) {
  const uint8_t below[3] = {background.r, background.g, background.b};
  for (int c = 0; c < 3; ++c) rgb[c] = uint8_t((rgb[c] * alpha + below[c] * (255 - alpha) + 127) / 255);
}

struct Box {
  int left, top, width, height;
};

Image crop(const Image& image, Box box) {
  Image out(box.width, box.height, image.channels);
  for (int y = 0; y < box.height; ++y)
    std::copy_n(image.at(box.left, box.top + y), size_t(box.width) * image.channels, out.at(0, y));
  return out;
}

float lanczos3(float x) {
  if (x == 0) return 1;
  if (std::abs(x) >= 3) return 0;
  const float p = x * std::numbers::pi_v<float>;
  return 3 * std::sin(p) * std::sin(p / 3) / (p * p);
}

// The weights of the source pixels [first, first + w.size()) in one target pixel.
struct Taps {
  int first;
  std::vector<float> weights;
};

std::vector<Taps> lanczos_taps(int from, int to) {
  const float scale = float(from) / float(to), stretch = std::max(scale, 1.0f);  // widened when shrinking: no aliasing
  std::vector<Taps> taps(static_cast<size_t>(to));
  for (int i = 0; i < to; ++i) {
    const float centre = (float(i) + 0.5f) * scale, radius = 3 * stretch;
    const int first = std::max(0, int(centre - radius + 0.5f)), last = std::min(from, int(centre + radius + 0.5f));
    Taps& t = taps[size_t(i)] = {first, {}};
    float sum = 0;
    for (int x = first; x < last; ++x) sum += t.weights.emplace_back(lanczos3((float(x) + 0.5f - centre) / stretch));
    for (float& w : t.weights) w /= sum;
  }
  return taps;
}

// Resizes a part along x and transposes; twice gives both directions. Colour is weighted by alpha, or fringes would
// appear.
Image resize_transposed(const Image& image, Box box, int width) {
  Image out(box.height, width, image.channels);
  const auto taps = lanczos_taps(box.width, width);
  const bool has_alpha = image.channels == 4;
  for (int y = 0; y < box.height; ++y)
    for (int x = 0; x < width; ++x) {
      const Taps& t = taps[size_t(x)];
      float sum[4] = {}, cover = 0;
      for (size_t k = 0; k < t.weights.size(); ++k) {
        const uint8_t* p = image.at(box.left + t.first + int(k), box.top + y);
        const float w = has_alpha ? t.weights[k] * float(p[3]) : t.weights[k];
        for (int c = 0; c < (has_alpha ? 3 : image.channels); ++c) sum[c] += w * float(p[c]);
        cover += w;
      }
      if (has_alpha) sum[3] = cover * cover;
      for (int c = 0; c < image.channels; ++c) out.at(y, x)[c] = cover > 0 ? to_byte(sum[c] / cover) : 0;
    }
  return out;
}

}  // namespace

Image::Image(int w, int h, int c, uint8_t fill) : width(w), height(h), channels(c) {
  constexpr int64_t most = int64_t{1} << 34;
  if (w < 0 || h < 0 || c < 0 || int64_t{w} * h > most / std::max(c, 1))
    throw ConfigError(fmt::format("an image of {}x{}x{} is too large", w, h, c));
  pixels.assign(size_t(w) * size_t(h) * size_t(c), fill);
}

Background parse_background(std::string_view text) {
  if (text == "white") return {255, 255, 255};
  if (text == "black") return {0, 0, 0};
  uint32_t rgb = 0;
  const auto hex = text.substr(std::min<size_t>(text.size(), 1));
  const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), rgb, 16);
  if (!text.starts_with('#') || hex.size() != 6 || error != std::errc{} || end != hex.data() + 6)
    throw ConfigError(fmt::format("a background is white, black or #rrggbb, not \"{}\"", printable(text)));
  return {uint8_t(rgb >> 16), uint8_t(rgb >> 8), uint8_t(rgb)};
}

Image to_channels(const Image& image, int channels, Background background) {
  if (channels != 1 && channels != 3 && channels != 4)
    throw ConfigError(fmt::format("images have 1, 3 or 4 channels, not {}", channels));
  if (channels == image.channels) return image;
  Image out(image.width, image.height, channels, 255);
  const uint8_t* from = image.pixels.data();
  for (size_t i = 0; i < out.pixels.size(); i += size_t(channels), from += image.channels) {
    uint8_t* to = &out.pixels[i];
    uint8_t rgb[3] = {from[0], from[image.channels > 1 ? 1 : 0], from[image.channels > 1 ? 2 : 0]};
    if (image.channels == 4) lay_over(rgb, from[3], background);
    if (channels == 1)
      *to = luminance(rgb);
    else
      std::copy_n(rgb, 3, to);
  }
  return out;
}

bool opaque(const Image& image) {
  for (size_t i = 3; image.channels == 4 && i < image.pixels.size(); i += 4)
    if (image.pixels[i] != 255) return false;
  return true;
}

Image center_crop_resize(const Image& image, int width, int height) {
  if (width < 1 || height < 1 || image.pixels.empty())
    throw ConfigError(fmt::format("cannot resize {}x{} to {}x{}", image.width, image.height, width, height));
  const auto fitted = [](int64_t side, int64_t a, int64_t b) {
    return int(std::max<int64_t>(1, (side * a + b / 2) / b));
  };
  const int w = std::min(image.width, fitted(image.height, width, height));
  const int h = std::min(image.height, fitted(image.width, height, width));
  const Box box{(image.width - w) / 2, (image.height - h) / 2, w, h};
  if (w == width && h == height) return crop(image, box);
  const Image narrow = resize_transposed(image, box, width);
  return resize_transposed(narrow, {0, 0, narrow.width, narrow.height}, height);
}

Image mirror(const Image& image) {
  Image out(image.width, image.height, image.channels);
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) std::copy_n(image.at(x, y), image.channels, out.at(image.width - 1 - x, y));
  return out;
}

Image upscale(const Image& image, int factor) {
  if (factor < 1) throw ConfigError(fmt::format("cannot enlarge an image {} times", factor));
  Image out(image.width * factor, image.height * factor, image.channels);
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x) std::copy_n(image.at(x / factor, y / factor), image.channels, out.at(x, y));
  return out;
}

Image image_from_floats(std::span<const float> hwc, int h, int w, int c, float lo, float hi) {
  Image out(w, h, c);
  if (hwc.size() != out.pixels.size())
    throw ShapeError(fmt::format("image_from_floats: {} values for [{}, {}, {}]", hwc.size(), h, w, c));
  const float scale = 255.0f / (hi - lo);
  for (size_t i = 0; i < hwc.size(); ++i) out.pixels[i] = to_byte((hwc[i] - lo) * scale);
  return out;
}

}  // namespace firn
