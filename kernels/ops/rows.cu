#include "kernels/ops/rows.h"

#include <cmath>

#include "kernels/core/columns.h"

namespace firn::kernels {

// add(lane, f(c)) for each c of a row, in as many lanes as a vector of the host has, from `start` on.
template <class A, class Team, class F, class Add>
FIRN_DEVICE A fold_row(Team t, int64_t C, A start, F f, Add add) {
  constexpr int V = Team::vector > 16 ? 16 : Team::vector;
  A lanes[V];
  for (int v = 0; v < V; ++v) lanes[v] = start;
  int64_t c = int64_t(t.rank()) * V;
  for (; c + V <= C; c += int64_t(t.size()) * V)
    for (int v = 0; v < V; ++v) lanes[v] = add(lanes[v], f(c + v));
  for (int v = 1; v < V; ++v) lanes[0] = add(lanes[0], lanes[v]);
  if (V > 1)
    for (; c < C; ++c) lanes[0] = add(lanes[0], f(c));
  return lanes[0];
}

template <class A, class Team, class F>
FIRN_DEVICE A sum_of_row(Team t, int64_t C, F f) {
  return t.sum(fold_row(t, C, A(0), f, [](A a, A b) { return a + b; }));
}

template <class T>
template <class Team>
FIRN_DEVICE void LayerNorm<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const T* const from = x + t.block() * C;
  T* const to = y + t.block() * C;
  const A mean = sum_of_row<A>(t, C, [=](int64_t c) { return A(from[c]); }) / A(C);
  const A variance = sum_of_row<A>(t, C, [=](int64_t c) { return (A(from[c]) - mean) * (A(from[c]) - mean); }) / A(C);
  const A rstd = A(1) / std::sqrt(variance + eps);
  for_span(t, 0, C, has_vectors(C, from, to), [&](int64_t c, auto width) {
    const auto u = read<width>(from + c);
    write<width>(to + c, [&](int v) { return T((A(u[v]) - mean) * rstd * gamma[c + v] + beta[c + v]); });
  });
  if (moments && t.rank() == 0) {
    moments[2 * t.block()] = mean;
    moments[2 * t.block() + 1] = rstd;
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void LayerNormGrad<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const T *const xs = x + t.block() * C, *const gs = gy + t.block() * C;
  T* const to = gx + t.block() * C;
  const A mean = moments[2 * t.block()], rstd = moments[2 * t.block() + 1];
  const A* const k = gamma;
  const A level = sum_of_row<A>(t, C, [=](int64_t c) { return A(gs[c]) * k[c]; }) / A(C);
  const A dot = sum_of_row<A>(t, C, [=](int64_t c) { return A(gs[c]) * k[c] * (A(xs[c]) - mean); }) / A(C);
  const A slope = dot * rstd * rstd;
  for_span(t, 0, C, has_vectors(C, xs, gs, to), [&](int64_t c, auto width) {
    const auto u = read<width>(xs + c), g = read<width>(gs + c);
    write<width>(to + c, [&](int v) { return T(rstd * (A(g[v]) * k[c + v] - level - (A(u[v]) - mean) * slope)); });
  });
}

template <class T>
template <class Team>
FIRN_DEVICE void Softmax<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const T* const from = x + t.block() * C;
  T* const to = y + t.block() * C;
  const A most = t.max(fold_row(
      t, C, A(-INFINITY), [=](int64_t c) { return A(from[c]); }, [](A a, A b) { return b > a ? b : a; }));
  // Where y rounds no more than the sum does, it has the terms of it until it is known.
  constexpr bool kept = sizeof(T) == sizeof(A);
  const A sum = sum_of_row<A>(t, C, [=](int64_t c) {
    const A e = std::exp(A(from[c]) - most);
    if constexpr (kept) to[c] = T(e);
    return e;
  });
  const A scale = A(1) / sum;
  for_span(t, 0, C, has_vectors(C, from, to), [&](int64_t c, auto width) {
    if constexpr (kept) {
      const auto e = read<width>(to + c);
      write<width>(to + c, [&](int v) { return T(A(e[v]) * scale); });
    } else {
      const auto u = read<width>(from + c);
      write<width>(to + c, [&](int v) { return T(std::exp(A(u[v]) - most) * scale); });
    }
  });
}

template <class T>
template <class Team>
FIRN_DEVICE void SoftmaxGrad<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const T *const ys = y + t.block() * C, *const gs = gy + t.block() * C;
  T* const to = gx + t.block() * C;
  const A dot = sum_of_row<A>(t, C, [=](int64_t c) { return A(gs[c]) * A(ys[c]); });
  for_span(t, 0, C, has_vectors(C, ys, gs, to), [&](int64_t c, auto width) {
    const auto u = read<width>(ys + c), g = read<width>(gs + c);
    write<width>(to + c, [&](int v) { return T(A(u[v]) * (A(g[v]) - dot)); });
  });
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(LayerNorm<float>);
FIRN_KERNEL(LayerNorm<bf16>);
FIRN_KERNEL(LayerNorm<double>);
FIRN_KERNEL(LayerNormGrad<float>);
FIRN_KERNEL(LayerNormGrad<bf16>);
FIRN_KERNEL(LayerNormGrad<double>);
FIRN_KERNEL(Softmax<float>);
FIRN_KERNEL(Softmax<bf16>);
FIRN_KERNEL(Softmax<double>);
FIRN_KERNEL(SoftmaxGrad<float>);
FIRN_KERNEL(SoftmaxGrad<bf16>);
FIRN_KERNEL(SoftmaxGrad<double>);
