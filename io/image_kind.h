// What kind of image bytes are, told from the bytes themselves: names lie, and extensions are many.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace firn {

enum class ImageKind { none, png, jpeg, bmp, webp, gif, tiff, heic, avif, jpeg_xl, jpeg_2000, psd, exr, pnm, svg };

constexpr size_t kind_bytes = 64;  // that are enough to tell

ImageKind kind_of(std::span<const std::byte> head);
bool readable(ImageKind kind);
std::string_view name_of(ImageKind kind);  // "PNG"; none: "no image"

// Why an image is passed over, for one whose kind is not read: "a HEIC image (named .jpg); convert it to PNG or JPEG".
std::string unreadable_reason(ImageKind kind, std::string_view file_name);

}  // namespace firn
