// Whether two ways of computing the same give the same, as far as rounding goes.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

// y[i] = sum of (a - b)^2 over a chunk, or of b^2 where a is null; what is not finite in b does not count.
struct SquaredDistance {
  static constexpr const char* name = "squared_distance";
  float* y;
  const bf16* a;
  const bf16* b;
  int64_t count;
  static constexpr int chunk = 4096;
  FIRN_DEVICE int64_t blocks() const { return (count + chunk - 1) / chunk; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// Whether y is finite where `expected` is, and in each chunk the mean square of the difference is at most 1/4096 of
// that of the chunk and that of everything together: about a thousand times what rounding to bf16 makes. Waits for the
// stream.
bool agree(const Stream&, const bf16* y, const bf16* expected, int64_t count);

}  // namespace firn::kernels
