// Rows of a table by number, and their sums back into it; channels by number. Each row of a sum is added up by one
// block in the order of the list, so results repeat; the price is that every block reads the whole list.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

// y[n,c] = x[index[n],c], 0 where x has no such row. y [N,C], x [R,C].
template <class T>
struct Gather {
  static constexpr const char* name = "gather";
  static constexpr int64_t chunk = 4096;  // columns
  T* y;
  const T* x;
  const int32_t* index;  // [N]
  int64_t N, R, C;
  FIRN_DEVICE int64_t chunks() const { return (C + chunk - 1) / chunk; }
  FIRN_DEVICE int64_t blocks() const { return N * chunks(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[r,c] = sum of x[n,c] over the n with index[n] = r. y [R,C], x [N,C].
template <class T>
struct ScatterAdd {
  static constexpr const char* name = "scatter_add";
  static constexpr int64_t chunk = 1024;  // columns
  T* y;
  const T* x;
  const int32_t* index;  // [N]
  int64_t N, R, C;
  FIRN_DEVICE int64_t chunks() const { return (C + chunk - 1) / chunk; }
  FIRN_DEVICE int64_t blocks() const { return R * chunks(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[p,j] = x[p,from[j]], 0 where that is no channel of x. y [P,n], x [P,C].
template <class T>
struct PickChannels {
  static constexpr const char* name = "pick_channels";
  T* y;
  const T* x;
  const int32_t* from;  // [n]
  int64_t P, C, n;
  FIRN_DEVICE int64_t rows_per_block() const { return 1 + 16384 / n; }
  FIRN_DEVICE int64_t blocks() const { return n ? (P + rows_per_block() - 1) / rows_per_block() : 0; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
