// Networks for images of other channels: grey, RGB, RGBA. Converting an image is affine in its channels, so a layer
// that writes or reads images can be rewritten for converted ones exactly.
#pragma once
#include <span>
#include <vector>

namespace firn {

// to[n] = sum over c of matrix[n][c] from[c] + offset[n], for pixels in [-1,1], as to_channels (io/images.h) converts
// bytes: grey is luminance, new alpha is opaque, and alpha goes without a trace.
struct ColourMap {
  ColourMap(int from, int to);
  double operator()(int n, int c) const { return matrix[size_t(n * from + c)]; }

  int from, to;
  std::vector<double> matrix, offset;
};

bool has_colour_map(int from, int to);  // of 1, 3 and 4 channels, and not the same

}  // namespace firn
