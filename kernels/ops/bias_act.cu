#include "kernels/ops/bias_act.h"

#include "kernels/core/columns.h"

namespace firn::kernels {

template <class T>
template <class Team>
FIRN_DEVICE void BiasAct<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int rows = rows_per_block(), per_image = (int(P) + rows - 1) / rows;
  const int64_t n = int(t.block()) / per_image, first = int(t.block()) % per_image * rows;
  const int64_t last = first + rows < P ? first + rows : P;
  const Epilogue<A> e = then;
  const A *const dn = e.d ? e.d + n * C : nullptr, *const bias = e.b;
  // A processor goes through whole rows: columns would take a part of each of its lines of memory at a time.
  if constexpr (Team::vector == 1) {
    const Columns columns(t, C, has_vectors(C, x, y));
    columns.each([&](int c, auto width) {
      A scale[width], shift[width];
      for (int v = 0; v < width; ++v) {
        scale[v] = dn ? dn[c + v] : A(1);
        shift[v] = bias ? bias[c + v] : A(0);
      }
      columns.rows(first, last, [&](int64_t i) {
        const int64_t at = (n * P + i) * C + c;
        const A nu = e.noise_at(n, P, i);
        const auto u = read<width>(x + at);
        write<width>(y + at, [&](int v) { return T(e(A(u[v]), scale[v], shift[v], nu)); });
      });
    });
  } else {
    const auto rows_with = [&](auto affine) {
      for (int64_t i = first; i < last; ++i) {
        const T* xi = x + (n * P + i) * C;
        T* yi = y + (n * P + i) * C;
        const A nu = e.noise_at(n, P, i);
        for (int64_t c = 0; c < C; ++c) yi[c] = T(e.act(affine(A(xi[c]), c) + nu));
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
}

template <class T>
template <class Team>
FIRN_DEVICE void BiasActGrad<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t first = t.block() * chunk;
  const int64_t last = first + chunk < count ? first + chunk : count;
  const Epilogue<A> e = of;
  for_span(t, first, last, has_vectors(0, gy, y, gt), [&](int64_t i, auto width) {
    const auto g = read<width>(gy + i), u = read<width>(y + i);
    write<width>(gt + i, [&](int v) { return T(e.gradient(A(g[v]), u[v])); });
  });
}

template <class T>
template <class Team>
FIRN_DEVICE void BiasActBackward<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int pixels = int(P), rows = rows_per_block(), parts = blocks_per_image();
  const int n = int(t.block()) / parts, first = int(t.block()) % parts * rows;
  const int last = first + rows < pixels ? first + rows : pixels;
  const int64_t image = int64_t(n) * P * C;
  const A amplitude = of.noise && !x && dots ? *of.strength : A(0);
  const A* const nu = of.noise ? of.noise + (of.noise_images > 1 ? int64_t(n) * P : 0) : nullptr;
  A of_noise = 0;
  const Columns columns(t, C, has_vectors(C, gx, gy, scaled, y, x));
  const auto here = [&](A* all) { return all ? all + t.block() * C : nullptr; };
  columns.each([&](auto c, auto width) {
    constexpr int lanes = Team::vector > 1 ? width : 1;  // a processor does not add across a vector at each pixel
    A dc[width], bc[width], k[width] = {}, sum[width] = {}, dot[width] = {}, scaled_dot[width] = {};
    A noise_dot[lanes] = {};
    for (int v = 0; v < width; ++v) {
      dc[v] = of.d ? of.d[n * C + c + v] : A(1);
      bc[v] = of.b && !x && dots ? of.b[c + v] : A(0);
      if (scaled) k[v] = scale[n * C + c + v];
    }
    columns.rows(first, last, [&](int64_t i) {
      const int64_t at = image + int64_t(i) * C + c;
      const A noise_here = nu ? nu[i] : A(0);
      // What is null is read elsewhere and not used.
      const auto stored = read<width>(y + at), from = read<width>((x ? x : y) + at);
      const auto g = read<width>((gy ? gy : y) + at), u = read<width>((scaled ? scaled : y) + at);
      const Epilogue<A> e = of;  // its own: a sum that is stored might lie in that of the kernel
      A g_here[width], gt[width], row[lanes] = {};
      for (int v = 0; v < width; ++v) {
        const A value = A(stored[v]), of_gy = A(g[v]), of_scaled = k[v] * A(u[v]);
        const A g_v = (gy ? of_gy : A(0)) + (scaled ? of_scaled : A(0));
        g_here[v] = e.clamps(stored[v]) ? A(0) : g_v;
        gt[v] = g_here[v] * e.slope_at(value);
        sum[v] += gt[v];
        row[v % lanes] += gt[v];
      }
      if (scaled_dots)
        for (int v = 0; v < width; ++v) scaled_dot[v] += A(u[v]) * A(stored[v]);
      // gt t = g y, as y = t act'(t): no division, which is a subroutine on a GPU.
      if (dots && x)
        for (int v = 0; v < width; ++v) dot[v] += gt[v] * A(from[v]);
      if (dots && !x)
        for (int v = 0; v < width; ++v) dot[v] += g_here[v] * A(stored[v]) - gt[v] * (amplitude * noise_here + bc[v]);
      for (int v = 0; v < lanes; ++v) noise_dot[v] += row[v] * noise_here;
      write<width>(gx + at, [&](int v) { return T(gt[v] * dc[v]); });
    });
    for (int v = 0; v < lanes; ++v) of_noise += noise_dot[v];
    if (sums) columns.template put<3>(0, c, sum, here(sums));
    for (int v = 0; v < width; ++v)
      if (dots && !x) dot[v] /= dc[v];
    if (dots) columns.template put<3>(1, c, dot, here(dots));
    if (scaled_dots) columns.template put<3>(2, c, scaled_dot, here(scaled_dots));
  });
  if (sums) columns.template finish<3>(0, here(sums));
  if (dots) columns.template finish<3>(1, here(dots));
  if (scaled_dots) columns.template finish<3>(2, here(scaled_dots));
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
