// One reader a format, for image_codec.cpp alone: what the header says, and the pixels row by row as they are stored.
// The pixels come from the libraries that everyone else reads them with, so damage is judged as elsewhere.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string_view>

#include "io/images.h"

namespace firn {

using Bytes = std::span<const std::byte>;
using Text = std::string_view;

inline bool starts_with(Bytes bytes, Text magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}
inline uint32_t big_endian(Bytes b, size_t i) {
  return uint32_t(b[i]) << 24 | uint32_t(b[i + 1]) << 16 | uint32_t(b[i + 2]) << 8 | uint32_t(b[i + 3]);
}
inline uint32_t little_endian(Bytes b, size_t i) {
  return uint32_t(b[i + 3]) << 24 | uint32_t(b[i + 2]) << 16 | uint32_t(b[i + 1]) << 8 | uint32_t(b[i]);
}

[[noreturn]] void reject(Text name, Text reason);  // IoError "NAME: REASON"

// Width and height as stored; everything else as in image_info.
ImageInfo png_info(Bytes head, Text name);
ImageInfo jpeg_info(Bytes head, Text name);
ImageInfo webp_info(Bytes head, Text name);
ImageInfo bmp_info(Bytes head, Text name);

// `row` is [stored width, channels]: bytes, or 16-bit samples of this machine's byte order where a PNG is read whole.
using TakeRow = std::function<void(int y, const uint8_t* row)>;
enum class Samples { bytes, whole };

void png_rows(Bytes bytes, Text name, const ImageInfo& stored, Samples samples, const TakeRow& take);
void jpeg_rows(Bytes bytes, Text name, const ImageInfo& stored, const TakeRow& take);
void webp_rows(Bytes bytes, Text name, const ImageInfo& stored, const TakeRow& take);
void bmp_rows(Bytes bytes, Text name, const ImageInfo& stored, const TakeRow& take);

}  // namespace firn
