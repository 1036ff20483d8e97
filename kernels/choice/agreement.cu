#include "kernels/choice/agreement.h"

#include "kernels/core/team.h"

namespace firn::kernels {

template <class Team>
FIRN_DEVICE void SquaredDistance::operator()(Team t) const {
  const int64_t first = t.block() * chunk;
  const int n = first + chunk < count ? chunk : int(count - first);
  float sum = 0;
  for (int i = t.rank(); i < n; i += t.size()) {
    const float expected = float(b[first + i]), d = a ? float(a[first + i]) - expected : expected;
    if (expected - expected == 0) sum += d * d;  // finite
  }
  sum = t.sum(sum);
  if (t.rank() == 0) y[t.block()] = sum;
}

}  // namespace firn::kernels

using namespace firn::kernels;
FIRN_KERNEL(SquaredDistance);
