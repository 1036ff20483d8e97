#include "io/idx.h"

#include <zlib.h>

#include <algorithm>
#include <climits>

#include "base/error.h"
#include "io/files.h"

namespace firn {
namespace {

constexpr size_t largest = size_t{1} << 30;

std::vector<std::byte> gunzip(std::span<const std::byte> bytes, std::string_view name) {
  const auto fail = [&](const char* what) { throw IoError(fmt::format("{}: {}", name, what)); };
  z_stream stream{};
  if (bytes.size() > UINT_MAX || inflateInit2(&stream, 15 + 16) != Z_OK) fail("cannot start decompression");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
  stream.avail_in = uInt(bytes.size());
  std::vector<std::byte> out;
  for (int status = Z_OK; status != Z_STREAM_END;) {
    const size_t done = stream.total_out;
    if (done > largest) fail("it decompresses to more than 1 GB");
    out.resize(std::max<size_t>(2 * done, 1 << 16));
    stream.next_out = reinterpret_cast<Bytef*>(out.data()) + done;
    stream.avail_out = uInt(out.size() - done);
    status = inflate(&stream, Z_NO_FLUSH);
    if (status != Z_OK && status != Z_STREAM_END) fail(stream.avail_in ? "broken gzip data" : "truncated gzip data");
  }
  out.resize(stream.total_out);
  return out;
}

}  // namespace

IdxArray parse_idx(std::span<const std::byte> bytes, std::string_view name) {
  if (bytes.size() >= 2 && bytes[0] == std::byte{0x1f} && bytes[1] == std::byte{0x8b}) {
    const auto plain = gunzip(bytes, name);
    if (plain.size() >= 2 && plain[0] == std::byte{0x1f}) throw IoError(fmt::format("{}: gzipped twice", name));
    return parse_idx(plain, name);
  }
  const auto fail = [&](std::string_view what) { throw IoError(fmt::format("{}: {}", name, what)); };
  if (bytes.size() < 4 || bytes[0] != std::byte{0} || bytes[1] != std::byte{0}) fail("not an idx file");
  if (bytes[2] != std::byte{8}) fail("an idx file of another type than unsigned bytes");
  const size_t dims = size_t(bytes[3]), header = 4 + 4 * dims;
  if (dims < 1 || dims > 4 || bytes.size() < header) fail("a broken idx header");

  IdxArray array;
  int64_t count = 1;
  for (size_t i = 4; i < header; i += 4) {
    int64_t d = 0;
    for (size_t k = 0; k < 4; ++k) d = d << 8 | int64_t(bytes[i + k]);
    array.shape.push_back(d);
    if (__builtin_mul_overflow(count, d, &count)) fail("the idx shape overflows");
  }
  if (count != int64_t(bytes.size() - header))
    fail(fmt::format("the idx shape needs {} bytes, the file has {}", count, bytes.size() - header));
  const auto* first = reinterpret_cast<const uint8_t*>(bytes.data());
  array.values.assign(first + header, first + bytes.size());
  return array;
}

IdxArray read_idx(const std::filesystem::path& path) { return parse_idx(read_bytes(path), path.string()); }

Image idx_image(const IdxArray& images, int64_t i, int size) {
  if (images.shape.size() != 3 || i < 0 || i >= images.shape[0])
    throw ShapeError(fmt::format("idx_image: no image {} in an array of {} dimensions", i, images.shape.size()));
  const int64_t h = images.shape[1], w = images.shape[2];
  const int64_t out_h = size ? size : h, out_w = size ? size : w;
  if (h > out_h || w > out_w || out_h > 16384 || out_w > 16384)
    throw ConfigError(fmt::format("cannot pad {}x{} to {}x{}", w, h, out_w, out_h));
  Image image(int(out_w), int(out_h), 1);
  const uint8_t* from = images.values.data() + i * h * w;
  for (int64_t y = 0; y < h; ++y, from += w)
    std::copy_n(from, w, image.at(int((out_w - w) / 2), int(y + (out_h - h) / 2)));
  return image;
}

}  // namespace firn
