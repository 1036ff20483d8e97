// Decoding and encoding. stb_image does the pixels; the checks here are for what it accepts in silence: files cut off
// after the header, wrong checksums, and a tiny file that claims a huge picture.
#include <stb/stb_image.h>
#include <stb/stb_image_write.h>
#include <zlib.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "io/files.h"
#include "io/images.h"
#include "kernels/error.h"

namespace firn {
namespace {

constexpr int max_side = 16384;
constexpr int64_t large_pixels = 25'000'000;

using Bytes = std::span<const std::byte>;
using Text = std::string_view;

const stbi_uc* raw(Bytes b) { return reinterpret_cast<const stbi_uc*>(b.data()); }
int raw_size(Bytes b) { return int(std::min<size_t>(b.size(), INT_MAX)); }

[[noreturn]] void reject(Text name, Text reason) { throw IoError(fmt::format("{}: {}", printable(name), reason)); }

bool starts_with(Bytes bytes, Text magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}
uint32_t at(Bytes b, size_t i) { return uint32_t(b[i]); }
uint32_t big_endian(Bytes b, size_t i) {
  return at(b, i) << 24 | at(b, i + 1) << 16 | at(b, i + 2) << 8 | at(b, i + 3);
}
uint32_t little_endian(Bytes b, size_t i) {
  return at(b, i + 3) << 24 | at(b, i + 2) << 16 | at(b, i + 1) << 8 | at(b, i);
}

bool checksum_holds([[maybe_unused]] Bytes type_and_data, [[maybe_unused]] uint32_t crc) {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
  return true;  // a fuzzer would never get past it
#else
  return crc32(0, raw(type_and_data), uInt(type_and_data.size())) == crc;
#endif
}

void check_png(Bytes bytes, const ImageInfo& info, Text name) {
  // Deflate shrinks at most 1032 times, and a pixel has at least one bit.
  if (int64_t(info.width) * info.height > int64_t(bytes.size()) * 1032 * 8)
    reject(name, fmt::format("the header claims {}x{} pixels, which {} bytes cannot hold", info.width, info.height,
                             bytes.size()));
  constexpr size_t frame = 12;  // length, type, checksum
  for (size_t position = 8; position + frame <= bytes.size();) {
    const size_t length = big_endian(bytes, position);
    if (length > bytes.size() - position - frame) break;
    const Bytes body = bytes.subspan(position + 4, length + 4);
    if (!checksum_holds(body, big_endian(bytes, position + 8 + length)))
      reject(name, "damaged PNG: a checksum is wrong");
    if (starts_with(body, "IEND")) return;
    position += frame + length;
  }
  reject(name, "truncated PNG: no end chunk");
}

// stb writes past its tables when the code counts of a Huffman table add up to more than 256. `tables` runs to the end
// of the file, because stb reads a table that leaves the segment before it complains.
void check_huffman_tables(Bytes tables, size_t segment, Text name) {
  constexpr size_t counts = 16;
  for (size_t i = 0; i < segment;) {
    size_t codes = 0;
    for (size_t k = 1; k <= counts && i + k < tables.size(); ++k) codes += at(tables, i + k);
    if (codes > 256) reject(name, "broken JPEG: a Huffman table of more than 256 codes");
    i += 1 + counts + codes;
  }
}

// True when the end marker is reached. Follows the segments, as stb does, instead of searching for the marker, because
// an embedded thumbnail has one too.
bool walk_jpeg(Bytes bytes, Text name) {
  size_t i = 2;
  while (i + 1 < bytes.size()) {
    const uint32_t marker = at(bytes, i + 1);
    const bool is_marker = at(bytes, i) == 0xff && marker != 0 && marker != 0xff;
    const bool bare = marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8);
    if (is_marker && marker == 0xd9) return true;
    if (!is_marker || bare) {
      i += is_marker ? 2 : 1;
      continue;
    }
    if (i + 3 >= bytes.size()) break;
    const size_t length = at(bytes, i + 2) << 8 | at(bytes, i + 3);
    if (length < 2) reject(name, "broken JPEG: a segment shorter than its own length field");
    if (marker == 0xc4) check_huffman_tables(bytes.subspan(i + 4), length - 2, name);
    i += 2 + length;
  }
  return false;
}

void check_bmp(Bytes bytes, Text name) {
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

ImageInfo image_info(Bytes head, Text name) {
  ImageInfo info{.kind = kind_of(head)};
  if (!readable(info.kind)) reject(name, head.empty() ? "an empty file" : unreadable_reason(info.kind, name));
  if (info.kind == ImageKind::webp) reject(name, "WebP is not read yet");
  if (info.kind == ImageKind::jpeg) walk_jpeg(head, name);
  if (!stbi_info_from_memory(raw(head), raw_size(head), &info.width, &info.height, &info.channels))
    reject(name, fmt::format("unreadable image header ({})", stbi_failure_reason()));
  if (info.width < 1 || info.height < 1) reject(name, "an image without pixels");
  if (info.width > max_side || info.height > max_side)
    reject(name, fmt::format("{}x{} pixels are more than this engine reads", info.width, info.height));
  if (info.channels == 2) info.channels = 4;  // grey with alpha
  if (info.kind == ImageKind::png && stbi_is_16_bit_from_memory(raw(head), raw_size(head))) info.depth = 16;
  return info;
}

Image decode_image(Bytes bytes, Text name, DecodeOptions options) {
  const ImageInfo info = image_info(bytes, name);
  const Turn turn = turn_for(info);
  if (bytes.size() > INT_MAX) reject(name, "an image file of more than 2 GB");
  if (info.kind == ImageKind::png) check_png(bytes, info, name);
  if (info.kind == ImageKind::jpeg && !walk_jpeg(bytes, name)) reject(name, "truncated JPEG: no end marker");
  if (info.kind == ImageKind::bmp) check_bmp(bytes, name);

  int width = 0, height = 0, stored = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(raw(bytes), raw_size(bytes), &width, &height, &stored, info.channels), std::free);
  if (!pixels) reject(name, fmt::format("broken image ({})", stbi_failure_reason()));
  if (width != info.width || height != info.height) reject(name, "broken image (two headers contradict each other)");
  Image image(width, height, info.channels);
  std::copy_n(pixels.get(), image.pixels.size(), image.pixels.data());
  if (info.depth == 16 && options.white > 0)
    for (uint8_t& v : image.pixels) v = uint8_t(std::min(255, (v * 257 * 255 + options.white / 2) / options.white));
  return image;
}

Image load_image(const std::filesystem::path& path, DecodeOptions options) {
  return decode_image(read_bytes(path, INT_MAX), path.string(), options);
}

int sample_peak(Bytes bytes, Text name) {
  const Image image = decode_image(bytes, name);
  if (image_info(bytes, name).depth != 16) return 0;
  return *std::max_element(image.pixels.begin(), image.pixels.end()) * 257;
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
