// Functions written in terms of other ops; their gradients of any order come for free.
#include "engine/ops.h"
#include "kernels/error.h"

namespace firn {

Tensor normalize_2nd_moment(const Tensor& x) { return mul(x, rsqrt(mean_axes(square(x), {1}) + 1e-8)); }

Tensor demodulation(const Tensor& w, const Tensor& s) {
  // Sum_k w^2 as a dot over the "pixels" k of w seen as [O,K*K,I].
  const Tensor taps = reshape(w, {w.dim(0), w.dim(1) * w.dim(2), w.dim(3)});
  return rsqrt(matmul(square(s), dot_pixels(taps, taps), {.trans_b = true}) + 1e-8);
}

Tensor minibatch_stddev(const Tensor& x, int group, int features, int segments) {
  const int64_t N = x.dim(0) / segments, H = x.dim(1), W = x.dim(2), C = x.dim(3), F = features;
  const int64_t G = std::min<int64_t>(group, N), M = N / std::max<int64_t>(G, 1);
  if (G < 1 || N % G || C % F || x.dim(0) % segments)
    throw ShapeError(fmt::format(
        "minibatch_stddev: a batch of {} cannot be cut into groups of {}, or {} channels into {}", N, G, C, F));
  const int64_t S = segments;
  const Tensor grouped = reshape(x, {S, G, M, H * W, F, C / F});
  const Tensor centred = sub(grouped, mean_axes(grouped, {1}));
  const Tensor deviation = sqrt(mean_axes(square(centred), {1}) + 1e-8);  // [S,1,M,HW,F,C/F]
  const Tensor feature = mean_axes(deviation, {3, 5});                    // [S,1,M,1,F,1]
  const Tensor tiled = expand(reshape(feature, {S, 1, M, 1, F}), {S, G, M, H * W, F}, x.type());
  return concat({x, reshape(tiled, {S * N, H, W, F})}, 3);
}

}  // namespace firn
