// Sums in a fixed order: the partition depends on the shape and the kind of device only, never on the number of
// threads.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

// Into how many parts a sum over the middle one of three axes is cut, each a block's work.
int64_t parts_for(const Stream&, int64_t outer, int64_t reduced, int64_t inner);

// y[a,b] = sum over r of x[a,r,b]; x [A,R,B].
template <class T>
void sum_middle(const Stream&, acc_t<T>* y, const T* x, int64_t A, int64_t R, int64_t B);

// The same for parts [outer,count,inner] of a sum.
template <class A>
void add_parts(const Stream&, A* y, const A* parts, int64_t outer, int64_t count, int64_t inner);

// y[a,p,b] = sum over r in part p of x[a,r,b]; x [A,R,B], y [A,parts,B]. A block has a part and up to `columns` of b.
template <class T>
struct SumMiddle {
  static constexpr const char* name = "sum";
  acc_t<T>* y;
  const T* x;
  int64_t A, R, B, parts;
  static constexpr int64_t columns = 2048;
  FIRN_DEVICE int64_t strips() const { return (B + columns - 1) / columns; }
  FIRN_DEVICE int64_t blocks() const { return A * parts * strips(); }
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
  FIRN_DEVICE int rows_per_block() const { return 1 + 8192 / int(C); }
  FIRN_DEVICE int64_t blocks() const { return N * ((P + rows_per_block() - 1) / rows_per_block()); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
