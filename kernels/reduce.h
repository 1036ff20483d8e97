// Sums in a fixed order: the partition depends on the shape only, never on the number of threads.
#pragma once
#include "kernels/run.h"

namespace firn::kernels {

// y[a,p,b] = sum over r in part p of x[a,r,b]; x [A,R,B], y [A,parts,B]. With parts > 1 a second launch adds the parts.
template <class T>
struct SumMiddle {
  static constexpr const char* name = "sum";
  acc_t<T>* y;
  const T* x;
  int64_t A, R, B, parts;
  FIRN_DEVICE int64_t blocks() const { return A * parts; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[n,p,c] = sum over the pixels of part p of a[n,i,c] b[n,i,c]; a, b [N,P,C], y [N,parts,C].
template <class T>
struct DotPixels {
  static constexpr const char* name = "dot_pixels";
  acc_t<T>* y;
  const T* a;
  const T* b;
  int64_t N, P, C, parts;
  FIRN_DEVICE int64_t blocks() const { return N * parts; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[n,i,c] = x[n,i,c] s[n,c]; x, y [N,P,C], s [N,C].
template <class T>
struct ScaleChannels {
  static constexpr const char* name = "scale_channels";
  T* y;
  const T* x;
  const acc_t<T>* s;
  int64_t N, P, C;
  FIRN_DEVICE int64_t rows_per_block() const { return 1 + 8192 / C; }
  FIRN_DEVICE int64_t blocks() const { return N * ((P + rows_per_block() - 1) / rows_per_block()); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
