// What augmentation does to each image by numbers of its own, NHWC. All are linear in x, or affine.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

// y[n,p,c] = sum over k of m[n,c,k] x[n,p,k], transposed of m[n,k,c] x[n,p,k]; with `offset` m[n,c,C] is added.
template <class T>
struct MixChannels {
  static constexpr const char* name = "mix_channels";
  static constexpr int chunk = 4096, most = 4;  // pixels of a block; channels
  T* y;
  const T* x;
  const T* m;  // [N,C,C+1]
  int64_t N, pixels, C;
  bool transposed, offset;
  FIRN_DEVICE int64_t chunks() const { return (pixels + chunk - 1) / chunk; }
  FIRN_DEVICE int64_t blocks() const { return N * chunks(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[n,h,w,c] = x[n,h + sign by[n,0],w + sign by[n,1],c], zero beyond the image; `by` holds whole numbers.
template <class T>
struct ShiftPixels {
  static constexpr const char* name = "shift_pixels";
  T* y;
  const T* x;
  const T* by;  // [N,2]
  int64_t N, H, W, C;
  int sign;
  FIRN_DEVICE int64_t blocks() const { return N * H; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y = x, but zero where |h + 1/2 - box[n,0]| < box[n,2] and |w + 1/2 - box[n,1]| < box[n,3].
template <class T>
struct CutOut {
  static constexpr const char* name = "cut_out";
  T* y;
  const T* x;
  const T* box;  // [N,4]
  int64_t N, H, W, C;
  FIRN_DEVICE int64_t blocks() const { return N * H; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[.,l,.] = sum over i of f[n,i] x[.,l + i - taps / 2,.] along rows or columns, x reflected as often as it takes; or
// the transpose of that. The number of taps is odd.
template <class T>
struct FilterReflected {
  static constexpr const char* name = "filter_reflected";
  T* y;
  const T* x;
  const T* f;  // [N,taps]
  int64_t N, H, W, C;
  int taps;
  bool along_rows, transposed;
  FIRN_DEVICE int64_t blocks() const { return N * H; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
