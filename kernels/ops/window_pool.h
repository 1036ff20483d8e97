// Windows that slide over images, NHWC. What of a window lies outside the image is left out. A block has a row of y.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

struct WindowSizes {
  int64_t N, H, W, C, OH, OW;  // x [N,H,W,C], y [N,OH,OW,C]
  int size, stride, pad;
};

// y = the maximum of x over each window; at = where in its window, counted by rows, the first one is. NaN is largest.
template <class T>
struct MaxPool {
  static constexpr const char* name = "max_pool";
  T* y;
  int32_t* at;  // [N,OH,OW,C], or null
  const T* x;
  WindowSizes s;
  FIRN_DEVICE int64_t blocks() const { return s.N * s.OH; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[n,oh,ow,c] = x at the place that MaxPool found.
template <class T>
struct PickFromWindow {
  static constexpr const char* name = "pick_from_window";
  T* y;
  const T* x;
  const int32_t* at;
  WindowSizes s;
  FIRN_DEVICE int64_t blocks() const { return s.N * s.OH; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// Its adjoint: x[n,h,w,c] = sum of y over the windows whose place is here. A block has a row of x.
template <class T>
struct PutIntoWindow {
  static constexpr const char* name = "put_into_window";
  T* x;
  const T* y;
  const int32_t* at;
  WindowSizes s;
  FIRN_DEVICE int64_t blocks() const { return s.N * s.H; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[p] = sum of x[q] / count(p) over the pixels q of the window around p, of which the image has count(p); the adjoint
// divides by count(q). x, y [N,H,W,C].
template <class T>
struct MeanAround {
  static constexpr const char* name = "mean_around";
  T* y;
  const T* x;
  int64_t N, H, W, C;
  int size;
  bool adjoint;
  FIRN_DEVICE int64_t blocks() const { return N * H; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
