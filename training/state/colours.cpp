#include "training/state/colours.h"

namespace firn {

bool has_colour_map(int from, int to) {
  const auto known = [](int channels) { return channels == 1 || channels == 3 || channels == 4; };
  return known(from) && known(to) && from != to;
}

ColourMap::ColourMap(int from_, int to_)
    : from(from_), to(to_), matrix(size_t(from * to), 0.0), offset(size_t(to), 0.0) {
  constexpr double luminance[] = {19595 / 65536.0, 38470 / 65536.0, 7471 / 65536.0};
  for (int c = 0; c < 3; ++c) {
    if (to == 1 && from > 1) matrix[size_t(c)] = luminance[c];
    if (to > 1) matrix[size_t(c * from + (from == 1 ? 0 : c))] = 1;
  }
  if (from == to)
    for (int c = 0; c < to; ++c) matrix[size_t(c * from + c)] = 1;
  else if (to == 4)
    offset[3] = 1;
}

}  // namespace firn
