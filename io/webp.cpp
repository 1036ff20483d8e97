// WebP through libwebp: lossy, lossless, with alpha. Animations are refused by name.
#include <webp/decode.h>

#include <memory>
#include <new>

#include "io/exif.h"
#include "io/image_formats.h"

namespace firn {
namespace {

const uint8_t* raw(Bytes b) { return reinterpret_cast<const uint8_t*>(b.data()); }

constexpr size_t riff_header = 12;

// Where the header announces EXIF, it stands behind the pixels.
int orientation_of(Bytes head, Text name) {
  constexpr auto announces_exif = std::byte{8};
  const Bytes first = head.subspan(riff_header);
  if (!starts_with(first, "VP8X") || first.size() < 9 || (first[8] & announces_exif) == std::byte{}) return 1;
  size_t position = riff_header;
  while (position + 8 <= head.size()) {
    const size_t length = little_endian(head, position + 4);
    const Bytes data = head.subspan(position + 8);
    if (starts_with(head.subspan(position), "EXIF") && length <= data.size())
      return exif_orientation(data.first(length));
    position += 8 + length + length % 2;
  }
  if (head.size() < size_t{little_endian(head, 4)} + 8) reject(name, "truncated WebP: its EXIF is missing");
  return 1;
}

}  // namespace

ImageInfo webp_info(Bytes head, Text name) {
  WebPBitstreamFeatures features;
  const VP8StatusCode status = WebPGetFeatures(raw(head), head.size(), &features);
  if (status == VP8_STATUS_NOT_ENOUGH_DATA) reject(name, "truncated WebP: a part of the header is missing");
  if (status != VP8_STATUS_OK) reject(name, "broken WebP: its header makes no sense");
  if (features.has_animation) reject(name, "an animated WebP; convert its frames to PNG or JPEG");
  return {.width = features.width,
          .height = features.height,
          .channels = features.has_alpha ? 4 : 3,
          .orientation = orientation_of(head, name)};
}

void webp_rows(Bytes bytes, Text name, const ImageInfo& stored, const TakeRow& take) {
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config)) reject(name, "libwebp is of another version than it was built with");
  config.output.colorspace = stored.channels == 4 ? MODE_RGBA : MODE_RGB;
  const std::unique_ptr<WebPDecBuffer, void (*)(WebPDecBuffer*)> buffer(&config.output, WebPFreeDecBuffer);
  switch (WebPDecode(raw(bytes), bytes.size(), &config)) {
    case VP8_STATUS_OK:
      break;
    case VP8_STATUS_OUT_OF_MEMORY:
      throw std::bad_alloc();
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      reject(name, "truncated WebP: pixels are missing");
    default:
      reject(name, "broken WebP: its pixels are damaged");
  }
  const WebPRGBABuffer& pixels = config.output.u.RGBA;
  for (int y = 0; y < stored.height; ++y) take(y, pixels.rgba + ptrdiff_t{y} * pixels.stride);
}

}  // namespace firn
