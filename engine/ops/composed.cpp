// Functions written in terms of other ops; their gradients of any order come for free.
#include "engine/ops.h"

namespace firn {

Tensor normalize_2nd_moment(const Tensor& x) { return mul(x, rsqrt(mean_axes(square(x), {1}) + 1e-8)); }

Tensor demodulation(const Tensor& w, const Tensor& s) {
  // Sum_k w^2 as a dot over the "pixels" k of w seen as [O,K*K,I].
  const Tensor taps = reshape(w, {w.dim(0), w.dim(1) * w.dim(2), w.dim(3)});
  return rsqrt(matmul(square(s), dot_pixels(taps, taps), {.trans_b = true}) + 1e-8);
}

}  // namespace firn
