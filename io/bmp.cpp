// BMP through stb_image, which reads files that are cut off in silence.
#include <stb/stb_image.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <memory>
#include <new>

#include "base/error.h"
#include "io/image_formats.h"

namespace firn {
namespace {

const stbi_uc* raw(Bytes b) { return reinterpret_cast<const stbi_uc*>(b.data()); }
int raw_size(Bytes b) { return int(std::min<size_t>(b.size(), INT_MAX)); }

void require_all_pixels(Bytes bytes, Text name) {
  if (bytes.size() < 32) reject(name, "truncated BMP");
  const bool old_header = little_endian(bytes, 14) == 12;
  const auto side = [&](size_t i) { return std::abs(int64_t(int32_t(little_endian(bytes, i)))); };
  const int64_t width = old_header ? little_endian(bytes, 18) & 0xffff : side(18);
  const int64_t height = old_header ? little_endian(bytes, 18) >> 16 : side(22);
  const int64_t depth = (old_header ? little_endian(bytes, 24) : little_endian(bytes, 28)) & 0xffff;
  const int64_t row = (width * depth + 31) / 32 * 4;
  if (little_endian(bytes, 10) + row * height > int64_t(bytes.size()))
    reject(name, "truncated BMP: pixels are missing");
}

}  // namespace

ImageInfo bmp_info(Bytes head, Text name) {
  ImageInfo info;
  const uint32_t packing = head.size() >= 34 && little_endian(head, 14) >= 40 ? little_endian(head, 30) : 0;
  if (packing == 1 || packing == 2) reject(name, "a run-length encoded BMP; convert it to PNG or JPEG");
  if (!stbi_info_from_memory(raw(head), raw_size(head), &info.width, &info.height, &info.channels))
    reject(name, fmt::format("unreadable image header ({})", stbi_failure_reason()));
  info.height = int(std::min<int64_t>(std::abs(int64_t{info.height}), INT_MAX));  // negative: the top row comes first
  return info;
}

void bmp_rows(Bytes bytes, Text name, const ImageInfo& stored, const TakeRow& take) {
  require_all_pixels(bytes, name);
  int width = 0, height = 0, channels = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(raw(bytes), raw_size(bytes), &width, &height, &channels, stored.channels), std::free);
  if (!pixels && Text(stbi_failure_reason()) == "outofmem") throw std::bad_alloc();
  if (!pixels) reject(name, fmt::format("broken image ({})", stbi_failure_reason()));
  if (width != stored.width || height != stored.height)
    reject(name, "broken image (two headers contradict each other)");
  for (int y = 0; y < height; ++y) take(y, pixels.get() + size_t(y) * size_t(width) * size_t(stored.channels));
}

}  // namespace firn
