// The one thing in EXIF that changes pixels: which way up they are stored.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "io/images.h"

namespace firn {

// 1 to 8 from EXIF bytes (a TIFF header and its directory, with or without "Exif\0\0" before it); 1, which is upright,
// where there is none or it is broken.
int exif_orientation(std::span<const std::byte> exif);

inline bool swaps_sides(int orientation) { return orientation >= 5; }

// Writes row `y` of the stored image where it belongs in the upright one.
void put_row(Image& upright, int orientation, int y, const uint8_t* row);

}  // namespace firn
