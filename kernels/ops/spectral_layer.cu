#include "kernels/ops/spectral_layer.h"

#include "kernels/core/columns.h"

namespace firn::kernels {

template <class T>
template <class Team>
FIRN_DEVICE void SpectralActGrad<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t first = t.block() * rows_per_block(),
                last = first + rows_per_block() < R ? first + rows_per_block() : R;
  const A scale = 1 / *sigma;
  const Epilogue<A> e = of;
  A* const to = sums ? sums + t.block() * C : nullptr;
  A* const dots_to = to && dots ? dots + t.block() * C : nullptr;
  if constexpr (Team::vector > 1) {  // whole rows, as in each_pixel
    if (to)
      for (int64_t c = 0; c < C; ++c) to[c] = 0;
    if (dots_to)
      for (int64_t c = 0; c < C; ++c) dots_to[c] = 0;
    for (int64_t i = first; i < last; ++i)
      for_vectors(t, C, [&](int64_t c, auto width) {
        const T *const g = gy + i * C + c, *const stored = y + i * C + c;
        A gt[width];
        for (int v = 0; v < width; ++v) gt[v] = A(g[v]) * e.slope_at(A(stored[v]));
        if (to)
          for (int v = 0; v < width; ++v) to[c + v] += gt[v];
        if (dots_to)
          for (int v = 0; v < width; ++v) dots_to[c + v] += A(g[v]) * A(stored[v]);
        for (int v = 0; v < width; ++v) gz[i * C + c + v] = T(gt[v] * scale);
      });
  } else {
    const Columns columns(t, C, has_vectors(C, gz, gy, y));
    columns.each([&](auto c, auto width) {
      A sum[width] = {}, dot[width] = {};
      columns.rows(first, last, [&](int64_t i) {
        const auto g = read<width>(gy + i * C + c), stored = read<width>(y + i * C + c);
        A gt[width];
        for (int v = 0; v < width; ++v) {
          gt[v] = A(g[v]) * e.slope_at(A(stored[v]));
          sum[v] += gt[v];
          dot[v] += A(g[v]) * A(stored[v]);
        }
        write<width>(gz + i * C + c, [&](int v) { return T(gt[v] * scale); });
      });
      if (to) columns.template put<2>(0, c, sum, to);
      if (dots_to) columns.template put<2>(1, c, dot, dots_to);
    });
    if (to) columns.template finish<2>(0, to);
    if (dots_to) columns.template finish_next<2>(1, dots_to);
  }
}

template <class A>
template <class Team>
FIRN_DEVICE void OuterAdd<A>::operator()(Team t) const {
  const int64_t first = t.block() * rows_per_block(),
                last = first + rows_per_block() < O ? first + rows_per_block() : O;
  for (int64_t o = first; o < last; ++o) {
    const A factor = *k * u[o];
    const A *const row = (x ? x : v) + (x ? o * R : 0), *const by = v;
    A* const to = y + o * R;
    const A kept = x ? 1 : 0;
    for_span(t, 0, R, has_vectors(R, row, by, to), [&](int64_t i, auto width) {
      const auto a = read<width>(row + i), b = read<width>(by + i);
      write<width>(to + i, [&](int j) { return kept * a[j] + factor * b[j]; });
    });
  }
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(SpectralActGrad<float>);
FIRN_KERNEL(SpectralActGrad<bf16>);
FIRN_KERNEL(SpectralActGrad<double>);
FIRN_KERNEL(OuterAdd<float>);
FIRN_KERNEL(OuterAdd<double>);
