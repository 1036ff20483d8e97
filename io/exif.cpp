#include "io/exif.h"

#include <algorithm>

#include "io/image_formats.h"

namespace firn {

int exif_orientation(Bytes exif) {
  if (exif.size() >= 6 && starts_with(exif, Text("Exif\0", 5))) exif = exif.subspan(6);
  const bool little = starts_with(exif, Text("II*\0", 4));
  if (exif.size() < 8 || (!little && !starts_with(exif, Text("MM\0*", 4)))) return 1;
  const auto number = [&](size_t at, size_t bytes) {
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value = value << 8 | uint32_t(exif[little ? at + bytes - 1 - i : at + i]);
    return value;
  };
  const size_t directory = number(4, 4);
  if (directory > exif.size() - 2) return 1;
  constexpr size_t entry_size = 12;
  const size_t fitting = (exif.size() - directory - 2) / entry_size;
  const size_t count = std::min<size_t>(number(directory, 2), fitting);
  for (size_t i = 0; i < count; ++i) {
    const size_t entry = directory + 2 + i * entry_size;
    constexpr uint32_t orientation = 0x0112, type_short = 3;
    if (number(entry, 2) != orientation) continue;
    const uint32_t value = number(entry + 8, 2);
    return number(entry + 2, 2) == type_short && value >= 1 && value <= 8 ? int(value) : 1;
  }
  return 1;
}

void put_row(Image& upright, int orientation, int y, const uint8_t* row) {
  const size_t channels = size_t(upright.channels);
  const int width = swaps_sides(orientation) ? upright.height : upright.width;
  if (orientation == 1) {
    std::copy_n(row, size_t(width) * channels, upright.at(0, y));
    return;
  }
  const int right = upright.width - 1, bottom = upright.height - 1;
  const auto to = [&](int x) -> uint8_t* {
    switch (orientation) {
      case 2:
        return upright.at(right - x, y);
      case 3:
        return upright.at(right - x, bottom - y);
      case 4:
        return upright.at(x, bottom - y);
      case 5:
        return upright.at(y, x);
      case 6:
        return upright.at(right - y, x);
      case 7:
        return upright.at(right - y, bottom - x);
      default:
        return upright.at(y, bottom - x);
    }
  };
  for (int x = 0; x < width; ++x) std::copy_n(row + size_t(x) * channels, channels, to(x));
}

}  // namespace firn
