// Images of another size: a sparse matrix along one axis, whose entries are computed where they are needed, and its
// transpose.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

enum class ResizeBy { area, bilinear, bicubic };

// y[a,j,b] = sum over i of m(j,i) x[a,i,b] with x [A,from,B] and y [A,to,B]; transposed x[a,i,b] = sum over j of
// m(j,i) y[a,j,b], `in` and `out` being of the other one. A block has as many lines of `out` as make a few hundred
// elements.
template <class T>
struct ResizeAxis {
  static constexpr const char* name = "resize";
  T* out;
  const T* in;
  int64_t A, B;
  int from, to;
  // area: the mean of the pixels that [j, j + 1) from/to touches. bicubic: Keys' kernel with a = -3/4 of the four
  // pixels around (j + 1/2) step - 1/2, those beyond the image being the ones at its edge. bilinear: of the two around
  // j step.
  ResizeBy by;
  double step, per_step;  // and 1 / step: divisions would be calls, around which registers are saved
  bool transposed;
  double share = 1.0 / whole(), share_more = 1.0 / (whole() + 1);  // of area: of that many pixels, or of one more
  FIRN_DEVICE int whole() const { return (from + to - 1) / to; }
  FIRN_DEVICE double centre() const { return by == ResizeBy::bicubic ? 0.5 : 0; }  // of a pixel
  FIRN_DEVICE int reach() const { return by == ResizeBy::bicubic ? 2 : 1; }
  FIRN_DEVICE int lines() const { return transposed ? from : to; }  // of out
  FIRN_DEVICE int lines_per_block() const { return 1 + 1024 / int(B); }
  FIRN_DEVICE int blocks_per_image() const { return (lines() + lines_per_block() - 1) / lines_per_block(); }
  FIRN_DEVICE int64_t blocks() const { return A * blocks_per_image(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
