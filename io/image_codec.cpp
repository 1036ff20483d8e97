// Decoding: the reader that fits the bytes, the limits that hold for all of them, and which way is up. Encoding of PNG.
#include <stb/stb_image_write.h>

#include <algorithm>
#include <climits>

#include "base/error.h"
#include "base/text.h"
#include "io/exif.h"
#include "io/files.h"
#include "io/image_formats.h"

namespace firn {
namespace {

constexpr int max_side = 16384;
constexpr int64_t large_pixels = 25'000'000;

uint8_t scaled(int sample, int white) { return uint8_t(std::min(255, (sample * 255 + white / 2) / white)); }

ImageInfo stored_info(Bytes head, Text name) {
  const ImageKind kind = kind_of(head);
  if (!readable(kind)) reject(name, head.empty() ? "an empty file" : unreadable_reason(kind, name));
  ImageInfo info = kind == ImageKind::png    ? png_info(head, name)
                   : kind == ImageKind::jpeg ? jpeg_info(head, name)
                   : kind == ImageKind::webp ? webp_info(head, name)
                                             : bmp_info(head, name);
  info.kind = kind;
  if (info.width < 1 || info.height < 1) reject(name, "an image without pixels");
  if (info.width > max_side || info.height > max_side)
    reject(name, fmt::format("{}x{} pixels are more than this engine reads", info.width, info.height));
  return info;
}

void rows(Bytes bytes, Text name, const ImageInfo& stored, Samples samples, const TakeRow& take) {
  switch (stored.kind) {
    case ImageKind::png:
      return png_rows(bytes, name, stored, samples, take);
    case ImageKind::jpeg:
      return jpeg_rows(bytes, name, stored, take);
    case ImageKind::webp:
      return webp_rows(bytes, name, stored, take);
    default:
      return bmp_rows(bytes, name, stored, take);
  }
}

}  // namespace

void reject(Text name, Text reason) { throw IoError(fmt::format("{}: {}", printable(name), reason)); }

ImageInfo image_info(Bytes head, Text name) {
  ImageInfo info = stored_info(head, name);
  if (swaps_sides(info.orientation)) std::swap(info.width, info.height);
  return info;
}

Image decode_image(Bytes bytes, Text name, DecodeOptions options) {
  const ImageInfo stored = stored_info(bytes, name);
  const Turn turn = turn_for(stored);
  Image image;  // made at the first row: by then the header is known not to lie
  const auto place = [&](int y, const uint8_t* row) {
    if (y == 0)
      image = swaps_sides(stored.orientation) ? Image(stored.height, stored.width, stored.channels)
                                              : Image(stored.width, stored.height, stored.channels);
    put_row(image, stored.orientation, y, row);
  };
  if (stored.depth != 16 || options.white <= 0) {
    rows(bytes, name, stored, Samples::bytes, place);
    return image;
  }
  std::vector<uint8_t> bytes_of_row(size_t(stored.width) * size_t(stored.channels));
  rows(bytes, name, stored, Samples::whole, [&](int y, const uint8_t* row) {
    const auto* samples = reinterpret_cast<const uint16_t*>(row);
    for (size_t i = 0; i < bytes_of_row.size(); ++i)
      bytes_of_row[i] = scaled(samples[i], stored.channels == 4 && i % 4 == 3 ? 65535 : options.white);
    place(y, bytes_of_row.data());
  });
  return image;
}

Image load_image(const std::filesystem::path& path, DecodeOptions options) {
  return decode_image(read_bytes(path, INT_MAX), path.string(), options);
}

int sample_peak(Bytes bytes, Text name) {
  const ImageInfo stored = stored_info(bytes, name);
  if (stored.depth != 16) return 0;
  const Turn turn = turn_for(stored);
  int peak = 0;
  rows(bytes, name, stored, Samples::whole, [&](int, const uint8_t* row) {
    const auto* samples = reinterpret_cast<const uint16_t*>(row);
    const size_t count = size_t(stored.width) * size_t(stored.channels);
    for (size_t i = 0; i < count; ++i)
      if (stored.channels != 4 || i % 4 != 3) peak = std::max<int>(peak, samples[i]);
  });
  return peak;
}

Turn turn_for(const ImageInfo& info) {
  static std::recursive_mutex one_at_a_time;
  return int64_t{info.width} * info.height > large_pixels ? Turn(one_at_a_time) : Turn();
}

std::vector<std::byte> encode_png(const Image& image) {
  std::vector<std::byte> png;
  const auto append = [](void* to, void* data, int size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    static_cast<std::vector<std::byte>*>(to)->insert(static_cast<std::vector<std::byte>*>(to)->end(), bytes,
                                                     bytes + size);
  };
  // stb_image_write counts bytes in an int.
  const bool too_large = (int64_t{image.width} * image.channels + 1) * image.height > INT_MAX;
  if (image.pixels.empty() || too_large ||
      !stbi_write_png_to_func(append, &png, image.width, image.height, image.channels, image.pixels.data(), 0))
    throw IoError(fmt::format("cannot encode an image of {}x{}x{} as PNG", image.width, image.height, image.channels));
  return png;
}

void save_png(const std::filesystem::path& path, const Image& image) { atomic_write(path, encode_png(image)); }

}  // namespace firn
