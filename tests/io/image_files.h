// Image files made byte by byte, for what no encoder would write.
#pragma once
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

namespace firn {

using FileBytes = std::vector<std::byte>;

inline FileBytes bytes_of(std::initializer_list<int> values) {
  FileBytes b;
  for (int v : values) b.push_back(std::byte(v));
  return b;
}
inline FileBytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}
inline void append(FileBytes& to, const FileBytes& more) { to.insert(to.end(), more.begin(), more.end()); }
inline FileBytes big_endian_bytes(uint32_t v) {
  return bytes_of({int(v >> 24), int(v >> 16 & 255), int(v >> 8 & 255), int(v & 255)});
}

// A 16x16 baseline JPEG of one flat colour, 128 in all components.
inline FileBytes small_jpeg(int components = 1) {
  FileBytes b = bytes_of({0xff, 0xd8, 0xff, 0xdb, 0, 67, 0});
  b.resize(b.size() + 64, std::byte{1});
  append(b, bytes_of({0xff, 0xc0, 0, 8 + 3 * components, 8, 0, 16, 0, 16, components}));
  for (int c = 1; c <= components; ++c) append(b, bytes_of({c, 0x11, 0}));
  // One DC and one AC code, each a single zero bit: "no difference" and "end of block".
  append(b, bytes_of({0xff, 0xc4, 0, 20, 0x00, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  append(b, bytes_of({0xff, 0xc4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  append(b, bytes_of({0xff, 0xda, 0, 6 + 2 * components, components}));
  for (int c = 1; c <= components; ++c) append(b, bytes_of({c, 0}));
  append(b, bytes_of({0, 63, 0}));
  b.resize(b.size() + size_t(components));  // 2 bits for each of 4 blocks
  append(b, bytes_of({0xff, 0xd9}));
  return b;
}

inline FileBytes small_bmp() {
  FileBytes b(54 + 2 * 8);
  b[0] = std::byte{'B'}, b[1] = std::byte{'M'}, b[2] = std::byte{70};
  b[10] = std::byte{54}, b[14] = std::byte{40}, b[18] = std::byte{2}, b[22] = std::byte{2}, b[26] = std::byte{1},
  b[28] = std::byte{24};
  b[54 + 2] = std::byte{200};  // bottom left, red
  return b;
}

// 3x2, lossless, its last pixels half and wholly transparent.
inline FileBytes small_webp() {
  return bytes_of({0x52, 0x49, 0x46, 0x46, 0x42, 0x00, 0x00, 0x00, 0x57, 0x45, 0x42, 0x50, 0x56, 0x50, 0x38,
                   0x4c, 0x35, 0x00, 0x00, 0x00, 0x2f, 0x02, 0x40, 0x00, 0x10, 0x2f, 0x40, 0x98, 0x6d, 0xb4,
                   0x39, 0xec, 0x7d, 0xfe, 0x96, 0xa7, 0x41, 0x26, 0x6d, 0x93, 0xbf, 0x1e, 0xe6, 0xdf, 0xe5,
                   0x04, 0x02, 0x04, 0x23, 0xfe, 0x2f, 0x09, 0x08, 0x8a, 0xae, 0x5b, 0x2e, 0x00, 0xfc, 0xc9,
                   0xa3, 0xb2, 0x15, 0x04, 0x02, 0x64, 0x88, 0x16, 0x4b, 0x22, 0xfa, 0x1f, 0x39, 0x00});
}

// 8x8, lossy.
inline FileBytes small_lossy_webp() {
  return bytes_of({0x52, 0x49, 0x46, 0x46, 0x4a, 0x00, 0x00, 0x00, 0x57, 0x45, 0x42, 0x50, 0x56, 0x50, 0x38, 0x20, 0x3e,
                   0x00, 0x00, 0x00, 0x30, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x08, 0x00, 0x08, 0x00, 0x04, 0x00, 0x68, 0x25,
                   0xb0, 0x02, 0x74, 0x32, 0x8c, 0xc1, 0x5c, 0x61, 0xe4, 0xb9, 0x6a, 0x00, 0x00, 0xfe, 0x88, 0xf1, 0x13,
                   0xb1, 0x37, 0xc2, 0x59, 0x0f, 0x22, 0x19, 0x68, 0x11, 0xf6, 0x0c, 0x9f, 0xf8, 0xf5, 0x47, 0xfd, 0xc8,
                   0x79, 0x16, 0x89, 0x6b, 0x7d, 0x0a, 0x23, 0xfe, 0x9e, 0xa8, 0xd7, 0x34, 0x00, 0x00});
}

inline FileBytes png_chunk(std::string_view type, const FileBytes& data) {
  FileBytes body = bytes_of(type), chunk = big_endian_bytes(uint32_t(data.size()));
  append(body, data);
  append(chunk, body);
  append(chunk, big_endian_bytes(uint32_t(crc32(0, reinterpret_cast<const Bytef*>(body.data()), uInt(body.size())))));
  return chunk;
}

struct PngParts {
  uint32_t width, height;
  int depth = 8, colour = 0;  // colour: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA
  FileBytes before = {};      // chunks between header and pixels
  FileBytes rows;             // each a zero (no filter), then its samples
};

inline FileBytes png_of(const PngParts& parts) {
  FileBytes header = big_endian_bytes(parts.width), png = bytes_of("\x89PNG\r\n\x1a\n");
  append(header, big_endian_bytes(parts.height));
  append(header, bytes_of({parts.depth, parts.colour, 0, 0, 0}));
  append(png, png_chunk("IHDR", header));
  append(png, parts.before);
  uLongf size = compressBound(uLong(parts.rows.size()));
  FileBytes packed(size);
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(parts.rows.data()),
           uLong(parts.rows.size()));
  packed.resize(size);
  append(png, png_chunk("IDAT", packed));
  append(png, png_chunk("IEND", {}));
  return png;
}

// A TIFF header and a directory of one entry, as all EXIF begins.
inline FileBytes exif_of(int orientation) {
  return bytes_of({'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0});
}
inline FileBytes little_endian_exif_of(int orientation) {
  return bytes_of({'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0});
}

inline FileBytes with_exif(FileBytes jpeg, const FileBytes& exif) {
  FileBytes segment = bytes_of({0xff, 0xe1, 0, int(exif.size()) + 8, 'E', 'x', 'i', 'f', 0, 0});
  append(segment, exif);
  jpeg.insert(jpeg.begin() + 2, segment.begin(), segment.end());
  return jpeg;
}

}  // namespace firn
