// Batch normalisation (Ioffe & Szegedy 2015), NHWC, with a scale and a shift of each group of samples: one group for
// plain ones, as many as samples for class-conditional ones. What follows, a ReLU, is part of the pass.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

// Of each part of the R rows: sums[p,c] = sum of x, squares[p,c] = sum of (x - the part's mean)^2. x [R,C], the others
// [parts,C]. A part's second look at x finds it in the cache.
template <class T>
struct PartMoments {
  static constexpr const char* name = "part_moments";
  acc_t<T>* sums;
  acc_t<T>* squares;
  const T* x;
  int64_t R, C;
  FIRN_DEVICE int64_t rows_per_part() const { return 1 + 16384 / C; }
  FIRN_DEVICE int64_t blocks() const { return (R + rows_per_part() - 1) / rows_per_part(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// From these, mean[c] and rstd[c] = 1 / sqrt(variance + eps), of all R rows; avg_mean and avg_var, where not null,
// become decay avg + (1 - decay) of the mean and of the variance R/(R-1) times that.
template <class A>
struct JoinMoments {
  static constexpr const char* name = "join_moments";
  A* mean;
  A* rstd;
  A* avg_mean;
  A* avg_var;
  const A* sums;
  const A* squares;
  int64_t parts, rows_per_part, R, C;
  A eps, decay;
  static constexpr int64_t columns = 32;  // a block's
  FIRN_DEVICE int64_t blocks() const { return (C + columns - 1) / columns; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// What the kernels below share: t[g,p,c] = (x[g,p,c] - mean[c]) rstd[c] gamma[g,c] + beta[g,c].
template <class T>
struct NormalizedRows {
  const T* x;             // [G,P,C]
  const acc_t<T>* mean;   // [C]
  const acc_t<T>* rstd;   // [C]
  const acc_t<T>* gamma;  // [G,C]
  const acc_t<T>* beta;   // [G,C]
  int64_t G, P, C;
  bool relu;
  FIRN_DEVICE int64_t rows_per_block() const { return 1 + 16384 / C; }
  FIRN_DEVICE int64_t blocks_per_group() const { return (P + rows_per_block() - 1) / rows_per_block(); }
};

// y = t, or max(t, 0).
template <class T>
struct BatchNormApply {
  static constexpr const char* name = "batch_norm";
  T* y;
  NormalizedRows<T> n;
  FIRN_DEVICE int64_t blocks() const { return n.G * n.blocks_per_group(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// With g = gy, or gy where t > 0: of each block's rows the sums of g and of g (x - mean).
template <class T>
struct BatchNormSums {
  static constexpr const char* name = "batch_norm_sums";
  acc_t<T>* sums;  // [2,G,blocks_per_group,C]
  const T* gy;
  NormalizedRows<T> n;
  FIRN_DEVICE int64_t blocks() const { return n.G * n.blocks_per_group(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// From the sums of groups [2,G,C]: ggamma[g,c], gbeta[g,c], and level[c] and slope[c] of BatchNormGrad, which are 0
// where mean and rstd are constants.
template <class A>
struct BatchNormJoin {
  static constexpr const char* name = "batch_norm_join";
  A* ggamma;
  A* gbeta;
  A* level;
  A* slope;
  const A* sums;
  const A* rstd;
  const A* gamma;
  int64_t G, C, R;  // R rows in all
  bool constants;
  static constexpr int64_t columns = 256;
  FIRN_DEVICE int64_t blocks() const { return (C + columns - 1) / columns; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// gx = rstd gamma g + level + slope (x - mean)
template <class T>
struct BatchNormGrad {
  static constexpr const char* name = "batch_norm_grad";
  T* gx;
  const T* gy;
  const acc_t<T>* level;
  const acc_t<T>* slope;
  NormalizedRows<T> n;
  FIRN_DEVICE int64_t blocks() const { return n.G * n.blocks_per_group(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
