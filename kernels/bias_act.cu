#include "kernels/bias_act.h"

#include <cmath>

#include "kernels/team.h"

namespace firn::kernels {

template <class T>
template <class Team>
FIRN_DEVICE void BiasAct<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t rows = rows_per_block(), per_image = (P + rows - 1) / rows;
  const int64_t n = t.block() / per_image, first = t.block() % per_image * rows;
  const int64_t last = first + rows < P ? first + rows : P;
  const A limit = clamp < 0 ? A(INFINITY) : clamp;
  const A amplitude = noise ? *strength : A(0);
  const A slope_ = slope, gain_ = gain;
  const A* dn = d ? d + n * C : nullptr;
  const A* bias = b;
  const auto rows_with = [&](auto affine) {
    for (int64_t i = first; i < last; ++i) {
      const T* xi = x + (n * P + i) * C;
      T* yi = y + (n * P + i) * C;
      const A nu = noise ? amplitude * noise[(noise_images > 1 ? n : 0) * P + i] : A(0);
      for (int64_t c = t.rank(); c < C; c += t.size()) {
        const A v = affine(A(xi[c]), c) + nu;
        const A u = gain_ * (v > 0 ? v : slope_ * v);
        // Written so that NaN survives: a comparison with NaN is false.
        yi[c] = T(u > limit ? limit : u < -limit ? -limit : u);
      }
    }
  };
  if (dn && bias) {
    rows_with([=](A v, int64_t c) { return v * dn[c] + bias[c]; });
  } else if (dn) {
    rows_with([=](A v, int64_t c) { return v * dn[c]; });
  } else if (bias) {
    rows_with([=](A v, int64_t c) { return v + bias[c]; });
  } else {
    rows_with([](A v, int64_t) { return v; });
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void BiasActGrad<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t first = t.block() * chunk;
  const int64_t last = first + chunk < count ? first + chunk : count;
  const A limit = clamp < 0 ? A(INFINITY) : A(T(clamp));  // what BiasAct stored
  const A positive = gain, negative = gain * slope;
  for (int64_t i = first + t.rank(); i < last; i += t.size()) {
    const A v = A(y[i]);
    const A k = v > 0 ? positive : negative;
    gt[i] = T(A(gy[i]) * (v >= limit || v <= -limit ? A(0) : k));
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void BiasActBackward<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int channels = int(C), pixels = int(P), rows = int(rows_per_block()), parts = int(blocks_per_image());
  const int n = int(t.block() / parts), group = groups > 1 ? t.rank() / channels : 0;
  const int first = int(t.block() % parts) * rows + group, end = first - group + rows;
  const int last = end < pixels ? end : pixels;
  const int64_t image = int64_t(n) * P * C, row_of_sums = (t.block() * groups + group) * C;
  const A limit = clamp < 0 ? A(INFINITY) : A(T(clamp)), positive = gain, negative = gain * slope;
  // Divisions are subroutines on a GPU, around which registers are saved: none in the loop. A slope of 0 passes
  // nothing.
  const A per_positive = 1 / positive, per_negative = negative == 0 ? A(0) : 1 / negative;
  const A amplitude = noise && !x && dots ? *strength : A(0);
  const A* const nu = noise ? noise + (noise_images > 1 ? int64_t(n) * P : 0) : nullptr;
  A of_noise = 0;
  const auto columns = [&](int64_t c, auto width) {
    A dc[width], per_d[width], bc[width], sum[width] = {}, dot[width] = {}, with_noise[width] = {};
    for (int v = 0; v < width; ++v) {
      dc[v] = d ? d[n * C + c + v] : A(1);
      per_d[v] = dots && !x ? 1 / dc[v] : A(0);
      bc[v] = b && !x && dots ? b[c + v] : A(0);
    }
    for (int i = first; i < last; i += groups) {
      const int64_t at = image + int64_t(i) * C + c;
      const A noise_here = nu ? nu[i] : A(0);
      for (int v = 0; v < width; ++v) {
        const A value = A(y[at + v]), k = value > 0 ? positive : negative;
        const A gt = A(gy[at + v]) * (value >= limit || value <= -limit ? A(0) : k);
        gx[at + v] = T(gt * dc[v]);
        sum[v] += gt;
        with_noise[v] += gt * noise_here;
        if (!dots) continue;
        const A t_here = value * (value > 0 ? per_positive : per_negative);
        dot[v] += gt * (x ? A(x[at + v]) : (t_here - amplitude * noise_here - bc[v]) * per_d[v]);
      }
    }
    for (int v = 0; v < width; ++v) {
      if (sums) sums[row_of_sums + c + v] = sum[v];
      if (dots) dots[row_of_sums + c + v] = dot[v];
      of_noise += with_noise[v];
    }
  };
  if (groups == 1)
    for_vectors(t, C, columns);
  else if (group < groups)
    columns(t.rank() % channels, std::integral_constant<int, 1>{});
  if (!noise_dots) return;
  of_noise = t.sum(of_noise);
  if (t.rank() == 0) noise_dots[t.block()] = of_noise;
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(BiasAct<float>);
FIRN_KERNEL(BiasAct<bf16>);
FIRN_KERNEL(BiasAct<double>);
FIRN_KERNEL(BiasActGrad<float>);
FIRN_KERNEL(BiasActGrad<bf16>);
FIRN_KERNEL(BiasActGrad<double>);
FIRN_KERNEL(BiasActBackward<float>);
FIRN_KERNEL(BiasActBackward<bf16>);
FIRN_KERNEL(BiasActBackward<double>);
