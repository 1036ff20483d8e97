#include "kernels/ops/projection.h"

#include "kernels/core/columns.h"

namespace firn::kernels {

template <class A, int width>
struct ProjectionSlope {
  A of[width];  // what goes to each positive unit of some channels
};

template <class T>
template <class Team>
FIRN_DEVICE void Projection<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t n = t.block(), C = head.C;
  const T* const xs = x + n * P * C;
  A* const hs = h + n * C;
  const A* const e = head.row_of(n);
  A of_w = 0, of_e = 0;
  const Columns columns(t, C, has_vectors(C, xs));
  columns.each([&](auto c, auto width) {
    A s[width] = {};
    columns.rows(0, P, [&](int64_t i) {
      const auto u = read<width>(xs + i * C + c);
      for (int v = 0; v < width; ++v) s[v] += A(u[v]) < 0 ? A(0) : A(u[v]);  // a NaN stays
    });
    columns.put(0, c, s, hs);
    for (int v = 0; v < width; ++v) {
      of_w += head.w[c + v] * s[v];
      of_e += e ? e[c + v] * s[v] : A(0);
    }
  });
  columns.finish(0, hs);
  of_w = t.sum(of_w) * head.w_scale();
  of_e = t.sum(of_e) * head.embed_scale();
  if (t.rank() != 0) return;
  terms[n] = of_w;
  terms[N + n] = of_e;
  scores[n] = of_w + *head.b + of_e;
}

template <class T>
template <class Team>
FIRN_DEVICE void ProjectionInputGrad<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t n = t.block() / blocks_per_sample(), first = t.block() % blocks_per_sample() * pixels_per_block();
  const int64_t last = first + pixels_per_block() < P ? first + pixels_per_block() : P, C = head.C;
  const A *const w = head.w, *const e = head.row_of(n) ? head.row_of(n) : w;
  const A of_w = g[n] * head.w_scale(), of_e = head.row_of(n) ? g[n] * head.embed_scale() : A(0);
  const T* const xs = x + n * P * C;
  T* const to = gx + n * P * C;
  const auto gradient = [=](int64_t c, auto width) {
    ProjectionSlope<A, width> k;
    for (int v = 0; v < width; ++v) k.of[v] = of_w * w[c + v] + of_e * e[c + v];
    return k;
  };
  each_pixel(t, first, last, C, has_vectors(C, xs, to), gradient, [=](int64_t i, int64_t c, auto width, const auto& k) {
    const auto u = read<width>(xs + i * C + c);
    write<width>(to + i * C + c, [&](int v) { return T(A(u[v]) > 0 ? k.of[v] : A(0)); });
  });
}

template <class A>
template <class Team>
FIRN_DEVICE void ProjectionWeightGrad<A>::operator()(Team t) const {
  const int64_t k = t.block(), C = head.C;
  const bool last = k + 1 == blocks();
  const A scale = last ? head.w_scale() : head.embed_scale();
  A* const to = last ? gw : gembed + k * C;
  for (int64_t c = t.rank(); c < C; c += t.size()) {
    A sum = 0;
    for (int64_t n = 0; n < N; ++n)
      if (last || head.labels[n] == k) sum += g[n] * h[n * C + c];
    to[c] = sum * scale;
  }
  if (!last || t.rank() != 0) return;
  A all = 0, of_w = 0, of_e = 0;
  for (int64_t n = 0; n < N; ++n) {
    all += g[n];
    of_w += g[n] * terms[n];
    of_e += g[n] * terms[N + n];
  }
  *gb = all;
  *gw_sigma = -of_w * head.w_scale();
  *gembed_sigma = -of_e * head.embed_scale();
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(Projection<float>);
FIRN_KERNEL(Projection<bf16>);
FIRN_KERNEL(Projection<double>);
FIRN_KERNEL(ProjectionInputGrad<float>);
FIRN_KERNEL(ProjectionInputGrad<bf16>);
FIRN_KERNEL(ProjectionInputGrad<double>);
FIRN_KERNEL(ProjectionWeightGrad<float>);
FIRN_KERNEL(ProjectionWeightGrad<double>);
