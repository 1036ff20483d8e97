// A kernel that reduces over its team again and again, in several types.
#pragma once
#include "kernels/core/run.h"

namespace firn::ptx {

// Of each row of x [rounds,256]: its maximum, its sum in float + in double - its minimum, and the sum of the places of
// the maximum, as every thread got them.
struct Reductions {
  static constexpr const char* name = "reductions";
  float* maxima;
  double* sums;
  int64_t* where;
  const float* x;
  int rounds;
  FIRN_DEVICE int64_t blocks() const { return 1; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::ptx
