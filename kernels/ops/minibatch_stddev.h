// The minibatch standard deviation (Karras et al. 2018, arXiv 1710.10196, section 3), NHWC: a batch is S segments of G
// x M samples, whose groups are the G samples of one m; features are F equal shares of the channels.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

struct StddevGroups {
  int64_t S, G, M, P, C, F;  // P pixels, C channels
};

// y[s,g,m,p,:] = x[s,g,m,p,:] and then, for each f, the mean over pixels and channels of f of
// sqrt(mean over g of (x - mean over g)^2 + 1e-8). x [S,G,M,P,C], y [S,G,M,P,C+F]. A block has a group and a feature.
template <class T>
struct MinibatchStddev {
  static constexpr const char* name = "minibatch_stddev";
  T* y;
  const T* x;
  StddevGroups n;
  FIRN_DEVICE int64_t blocks() const { return n.S * n.M * n.F; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// Its gradient by x: gx = gy + (sum of gy over the places of the feature) / (P C/F G) (x - mean) / sqrt(...).
template <class T>
struct MinibatchStddevGrad {
  static constexpr const char* name = "minibatch_stddev_grad";
  T* gx;
  const T* gy;  // as y
  const T* x;
  StddevGroups n;
  FIRN_DEVICE int64_t blocks() const { return n.S * n.M * n.F; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
