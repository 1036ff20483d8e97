#include "kernels/ops/reduce.h"

#include "kernels/core/columns.h"

namespace firn::kernels {

template <class T>
template <class Team>
FIRN_DEVICE void SumMiddle<T>::operator()(Team t) const {
  using A_ = acc_t<T>;
  const int64_t strip = t.block() % strips(), part = t.block() / strips(), a = part / parts, p = part % parts;
  const int64_t first = R * p / parts, last = R * (p + 1) / parts, column = strip * columns;
  const T* xa = x + a * R * B + column;
  A_* ya = y + part * B + column;
  if (B == 1) {
    constexpr int V = Team::vector;
    A_ lanes[V] = {};
    int64_t r = first + int64_t(t.rank()) * V;
    for (; r + V <= last; r += int64_t(t.size()) * V)
      for (int v = 0; v < V; ++v) lanes[v] += A_(xa[r + v]);
    A_ s = 0;
    for (int v = 0; v < V; ++v) s += lanes[v];
    if (V > 1)
      for (; r < last; ++r) s += A_(xa[r]);
    s = t.sum(s);
    if (t.rank() == 0) ya[0] = s;
    return;
  }
  const Columns share(t, column + columns < B ? columns : B - column, has_vectors(B, xa));
  share.each([&](auto b, auto width) {
    A_ s[width] = {};
    share.rows(first, last, [&](int64_t r) {
      const auto row = read<width>(xa + r * B + b);
      for (int v = 0; v < width; ++v) s[v] += A_(row[v]);
    });
    share.put(0, b, s, ya);
  });
  share.finish(0, ya);
}

template <class T>
template <class Team>
FIRN_DEVICE void DotPixels<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t n = t.block() / parts, p = t.block() % parts;
  const int64_t first = P * p / parts, last = P * (p + 1) / parts;
  const T *an = a + n * P * C, *bn = b + n * P * C;
  A* yn = y + (n * parts + p) * C;
  const Columns columns(t, C, has_vectors(C, an, bn));
  columns.each([&](auto c, auto width) {
    A s[width] = {};
    columns.rows(first, last, [&](int64_t i) {
      const auto u = read<width>(an + i * C + c), v = read<width>(bn + i * C + c);
      for (int k = 0; k < width; ++k) s[k] += A(u[k]) * A(v[k]);
    });
    columns.put(0, c, s, yn);
  });
  columns.finish(0, yn);
}

template <class T>
template <class Team>
FIRN_DEVICE void ScaleChannels<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int rows = rows_per_block(), per_image = (int(P) + rows - 1) / rows;
  const int64_t n = int(t.block()) / per_image, first = int(t.block()) % per_image * rows;
  const int64_t last = first + rows < P ? first + rows : P;
  const A* sn = s + n * C;
  if constexpr (Team::vector > 1) {  // whole rows: see BiasAct
    for (int64_t i = first; i < last; ++i) {
      const T* xi = x + (n * P + i) * C;
      T* yi = y + (n * P + i) * C;
      for (int64_t c = 0; c < C; ++c) yi[c] = T(A(xi[c]) * sn[c]);
    }
  } else {
    const Columns columns(t, C, has_vectors(C, x, y));
    columns.each([&](int c, auto width) {
      A k[width];
      for (int v = 0; v < width; ++v) k[v] = sn[c + v];
      columns.rows(first, last, [&](int64_t i) {
        const int64_t at = (n * P + i) * C + c;
        const auto u = read<width>(x + at);
        write<width>(y + at, [&](int v) { return T(A(u[v]) * k[v]); });
      });
    });
  }
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(SumMiddle<float>);
FIRN_KERNEL(SumMiddle<bf16>);
FIRN_KERNEL(SumMiddle<double>);
FIRN_KERNEL(DotPixels<float>);
FIRN_KERNEL(DotPixels<bf16>);
FIRN_KERNEL(DotPixels<double>);
FIRN_KERNEL(ScaleChannels<float>);
FIRN_KERNEL(ScaleChannels<bf16>);
FIRN_KERNEL(ScaleChannels<double>);
