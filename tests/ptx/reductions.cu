#include "tests/ptx/reductions.h"

#include "kernels/core/team.h"

namespace firn::ptx {

template <class Team>
FIRN_DEVICE void Reductions::operator()(Team t) const {
  for (int r = 0; r < rounds; ++r) {
    const float v = x[r * t.size() + t.rank()];
    const float most = t.max(v), sum = t.sum(v);
    const int64_t places = t.sum(int64_t(v == most ? t.rank() : 0));
    maxima[r * t.size() + t.rank()] = most;
    sums[r * t.size() + t.rank()] = double(sum) + t.sum(double(v)) + t.max(double(-v));
    where[r * t.size() + t.rank()] = places;
  }
}

}  // namespace firn::ptx

FIRN_KERNEL(firn::ptx::Reductions);
