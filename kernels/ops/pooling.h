// Images of twice and of half the size, NHWC.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

// y[n,2h+i,2w+j,c] = gain x[n,h,w,c] for i, j in {0,1}; x [N,H,W,C], y [N,2H,2W,C]. A block has a row of x.
template <class T>
struct UpsampleNearest {
  static constexpr const char* name = "upsample_nearest";
  T* y;
  const T* x;
  int64_t N, H, W, C;
  acc_t<T> gain;
  FIRN_DEVICE int64_t blocks() const { return N * H; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[n,h,w,c] = gain (sum over i, j in {0,1} of x[n,2h+i,2w+j,c]); x [N,2H,2W,C], y [N,H,W,C]. A block has a row of y.
template <class T>
struct SumPool {
  static constexpr const char* name = "sum_pool";
  T* y;
  const T* x;
  int64_t N, H, W, C;
  acc_t<T> gain;
  FIRN_DEVICE int64_t blocks() const { return N * H; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
