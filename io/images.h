// 8-bit images in memory: decoding of PNG, JPEG, WebP and BMP from untrusted bytes, PNG encoding, and the few edits
// that data sets and sample sheets need.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "io/image_kind.h"

namespace firn {

struct Image {
  int width = 0, height = 0, channels = 0;  // channels: 1 grey, 3 RGB, 4 RGBA
  std::vector<uint8_t> pixels;              // [height, width, channels]

  Image() = default;
  Image(int w, int h, int c, uint8_t fill = 0);
  uint8_t* at(int x, int y) { return pixels.data() + (size_t(y) * width + x) * channels; }
  const uint8_t* at(int x, int y) const { return pixels.data() + (size_t(y) * width + x) * channels; }
  bool operator==(const Image&) const = default;
};

struct ImageInfo {
  int width = 0, height = 0;  // upright
  int channels = 0;           // 4 only where something may be transparent: an alpha channel or a colour key
  int depth = 8;              // bits a sample
  int orientation = 1;        // as EXIF counts, 1 to 8; width, height and decoded pixels have it applied
  ImageKind kind = ImageKind::none;
};

// From the header alone: `head` may be the first part of the file. IoError when it is no image that can be read, is
// larger than 16384 a side, or the header itself is cut off. An orientation that stands behind the pixels (eXIf of a
// PNG, EXIF of a WebP) is seen only where `head` is the whole file.
ImageInfo image_info(std::span<const std::byte> head, std::string_view name);

struct DecodeOptions {
  int white = 0;  // of 16-bit images: the sample that becomes 255; 0: the high byte is taken, as other readers do
};

// Upright. IoError when pixels are missing or damaged; what harms none of them (bytes between or behind the parts of a
// file, a missing end mark of a PNG) passes, as in other readers.
Image decode_image(std::span<const std::byte> bytes, std::string_view name, DecodeOptions options = {});
Image load_image(const std::filesystem::path& path, DecodeOptions options = {});

// The greatest sample of a 16-bit image, alpha left out: 4095 or less where a camera counted 12 bits. 0 for 8 bits.
int sample_peak(std::span<const std::byte> bytes, std::string_view name);

// Images of more than 25 megapixels are in memory one at a time, whatever the number of threads. Decoding takes its
// turn by itself; who shrinks the pixels afterwards holds it until that is done. Empty for smaller images.
using Turn = std::unique_lock<std::recursive_mutex>;
[[nodiscard]] Turn turn_for(const ImageInfo& info);

std::vector<std::byte> encode_png(const Image& image);
void save_png(const std::filesystem::path& path, const Image& image);  // atomic

// What shows through where an image is transparent.
struct Background {
  uint8_t r = 255, g = 255, b = 255;
  bool operator==(const Background&) const = default;
};
Background parse_background(std::string_view text);  // "white", "black" or "#rrggbb"; ConfigError

// 1, 3 or 4 channels; new alpha is opaque, and an image that loses its alpha is laid over the background.
Image to_channels(const Image& image, int channels, Background background = {});
bool opaque(const Image& image);  // without alpha, or every alpha is 255
Image center_crop_resize(const Image& image, int width,
                         int height);           // crop to the aspect, then Lanczos-3 as Pillow does
Image mirror(const Image& image);               // left to right
Image upscale(const Image& image, int factor);  // nearest

// Sheets: white where nothing covers it; channels follow the richest image.
Image grid(std::span<const Image> tiles, int columns, int padding = 0);
Image stack_vertical(std::span<const Image> images);
Image with_title(const Image& image, std::string_view title,
                 int scale = 2);  // a strip above; smaller, then wider, to fit

// [h, w, c] floats in [lo, hi] to bytes: rounded to nearest even and clamped, as NVIDIA's image grids.
Image image_from_floats(std::span<const float> hwc, int h, int w, int c, float lo = -1, float hi = 1);

}  // namespace firn
