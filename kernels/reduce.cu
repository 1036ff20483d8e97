#include "kernels/reduce.h"

#include "kernels/team.h"

namespace firn::kernels {

template <class T>
template <class Team>
FIRN_DEVICE void SumMiddle<T>::operator()(Team t) const {
  using A_ = acc_t<T>;
  const int64_t a = t.block() / parts, p = t.block() % parts;
  const int64_t first = R * p / parts, last = R * (p + 1) / parts;
  const T* xa = x + a * R * B;
  A_* ya = y + (a * parts + p) * B;
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
  for_vectors(t, B, [&](int64_t b, auto width) {
    A_ s[width] = {};
    for (int64_t r = first; r < last; ++r)
      for (int v = 0; v < width; ++v) s[v] += A_(xa[r * B + b + v]);
    for (int v = 0; v < width; ++v) ya[b + v] = s[v];
  });
}

template <class T>
template <class Team>
FIRN_DEVICE void DotPixels<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t n = t.block() / parts, p = t.block() % parts;
  const int64_t first = P * p / parts, last = P * (p + 1) / parts;
  const T *an = a + n * P * C, *bn = b + n * P * C;
  A* yn = y + (n * parts + p) * C;
  for_vectors(t, C, [&](int64_t c, auto width) {
    A s[width] = {};
    for (int64_t i = first; i < last; ++i)
      for (int v = 0; v < width; ++v) s[v] += A(an[i * C + c + v]) * A(bn[i * C + c + v]);
    for (int v = 0; v < width; ++v) yn[c + v] = s[v];
  });
}

template <class T>
template <class Team>
FIRN_DEVICE void ScaleChannels<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t rows = rows_per_block(), per_image = (P + rows - 1) / rows;
  const int64_t n = t.block() / per_image, first = t.block() % per_image * rows;
  const int64_t last = first + rows < P ? first + rows : P;
  const A* sn = s + n * C;
  for (int64_t i = first; i < last; ++i) {
    const T* xi = x + (n * P + i) * C;
    T* yi = y + (n * P + i) * C;
    for (int64_t c = t.rank(); c < C; c += t.size()) yi[c] = T(A(xi[c]) * sn[c]);
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
