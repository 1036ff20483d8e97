// Up-sample by zero insertion, pad or crop, filter, keep every down-th sample (Karras et al. 2019), NHWC.
#pragma once
#include "kernels/run.h"

namespace firn::kernels {

constexpr int kMaxTaps = 12;

// y[n,oy,ox,c] = gain sum over (i,j) of f[i] f[j] u[n, oy down + i - pad_y, ox down + j - pad_x, c], where u is x with
// up - 1 zeros after each sample. A true convolution reverses the taps first; the caller does that.
template <class T>
struct Upfirdn2d {
  static constexpr const char* name = "upfirdn2d";
  T* y;
  const T* x;
  int64_t N, H, W, C, OH, OW;
  int up, down, pad_x, pad_y, taps;
  acc_t<T> gain;
  acc_t<T> f[kMaxTaps];
  FIRN_DEVICE int64_t blocks() const { return N * OH; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
