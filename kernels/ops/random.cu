#include "kernels/ops/random.h"

#include <cmath>

#include "kernels/core/team.h"

namespace firn::kernels {

template <class T>
template <class Team>
FIRN_DEVICE void Normal<T>::operator()(Team t) const {
  const int64_t first = t.block() * chunk / 4, last = first + chunk / 4;
  const uint64_t draw = origin ? *origin + offset : offset;
  for (int64_t q = first + t.rank(); q < last && q * 4 < count; q += t.size()) {
    uint32_t r[4];
    philox(seed, draw, uint64_t(q), r);
    for (int h = 0; h < 2; ++h) {
      // u in (0,1]: the logarithm stays finite.
      const float u = (float(r[2 * h] >> 8) + 1.0f) * (1.0f / 16777216.0f);
      const float angle = float(r[2 * h + 1] >> 8) * (6.28318530718f / 16777216.0f);
      const float radius = std::sqrt(-2.0f * std::log(u));
      const int64_t i = q * 4 + 2 * h;
      if (i < count) y[i] = T(radius * std::cos(angle));
      if (i + 1 < count) y[i + 1] = T(radius * std::sin(angle));
    }
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void Uniform<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t first = t.block() * chunk / 4, last = first + chunk / 4;
  const uint64_t draw = origin ? *origin + offset : offset;
  for (int64_t q = first + t.rank(); q < last && q * 4 < count; q += t.size()) {
    uint32_t r[4];
    philox(seed, draw, uint64_t(q), r);
    for (int k = 0; k < 4 && q * 4 + k < count; ++k)
      y[q * 4 + k] = T(lo + (hi - lo) * (A(r[k] >> 8) * A(1.0 / 16777216.0)));
  }
}

}  // namespace firn::kernels

using namespace firn::kernels;
FIRN_KERNEL(Normal<float>);
FIRN_KERNEL(Normal<firn::bf16>);
FIRN_KERNEL(Normal<double>);
FIRN_KERNEL(Uniform<float>);
FIRN_KERNEL(Uniform<firn::bf16>);
FIRN_KERNEL(Uniform<double>);
