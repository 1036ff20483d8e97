// 8-bit images in memory: decoding of PNG, JPEG and BMP from untrusted bytes, PNG encoding, and the few edits that data
// sets and sample sheets need. What stb_image would let pass (cut-off files, wrong checksums) is an IoError here.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

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
  int width = 0, height = 0, channels = 0;
};

// From the header alone: `head` may be the first part of the file. IoError when it is no image, is larger than 16384 a
// side or 100 megapixels, or the header itself is cut off.
ImageInfo image_info(std::span<const std::byte> head, std::string_view name);

Image decode_image(std::span<const std::byte> bytes, std::string_view name);
Image load_image(const std::filesystem::path& path);

std::vector<std::byte> encode_png(const Image& image);
void save_png(const std::filesystem::path& path, const Image& image);  // atomic

Image to_channels(const Image& image, int channels);  // 1, 3 or 4; new alpha is opaque, old alpha is dropped
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
