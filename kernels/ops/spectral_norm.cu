#include "kernels/ops/spectral_norm.h"

#include <cmath>

#include "kernels/core/columns.h"

namespace firn::kernels {

namespace {
// The last layer whose first_block is not past `block`.
template <class A>
FIRN_DEVICE const SpectralLayer<A>& layer_of(const SpectralTable<A>& table, int64_t block) {
  int i = 0;
  while (i + 1 < table.count && table.layers[i + 1].first_block <= block) ++i;
  return table.layers[i];
}

template <class A, class Team>
FIRN_DEVICE A dot(const Team& t, const A* a, const A* b, int64_t n) {
  constexpr int V = Team::vector;
  A lanes[V] = {};
  int64_t i = int64_t(t.rank()) * V;
  for (; i + V <= n; i += int64_t(t.size()) * V)
    for (int v = 0; v < V; ++v) lanes[v] += a[i + v] * b[i + v];
  A s = 0;
  for (int v = 0; v < V; ++v) s += lanes[v];
  if (V > 1)
    for (; i < n; ++i) s += a[i] * b[i];
  return t.sum(s);
}
}  // namespace

template <class A>
template <class Team>
FIRN_DEVICE void SpectralColumns<A>::operator()(Team t) const {
  const SpectralLayer<A>& l = layer_of(table, t.block());
  const int64_t strip = columns(table.cuda, l.O), first = (t.block() - l.first_block) * strip;
  const int64_t n = first + strip < l.R ? strip : l.R - first, R = l.R, O = l.O;
  const A *const w = l.w + first, *const u = l.u;
  A* const v = l.v + first;
  if constexpr (Team::vector > 1) {  // along the rows, four at a time: the sums stay in the nearest cache
    for (int64_t c = 0; c < n; ++c) v[c] = 0;
    int64_t o = 0;
    for (; o + 4 <= O; o += 4) {
      const A *const w0 = w + o * R, *const w1 = w0 + R, *const w2 = w1 + R, *const w3 = w2 + R;
      const A u0 = u[o], u1 = u[o + 1], u2 = u[o + 2], u3 = u[o + 3];
      for (int64_t c = 0; c < n; ++c) v[c] += (u0 * w0[c] + u1 * w1[c]) + (u2 * w2[c] + u3 * w3[c]);
    }
    for (; o < O; ++o)
      for (int64_t c = 0; c < n; ++c) v[c] += u[o] * w[o * R + c];
  } else {
    const Columns share(t, n, has_vectors(n, w) && R % kVector == 0);
    share.each([&](auto c, auto width) {
      A s[width] = {};
      share.rows(0, O, [&](int64_t o) {
        const auto row = read<width>(w + o * R + c);
        const A k = u[o];
        for (int i = 0; i < width; ++i) s[i] += k * row[i];
      });
      share.put(0, c, s, v);
    });
    share.finish(0, v);
  }
}

template <class A>
template <class Team>
FIRN_DEVICE void SpectralRows<A>::operator()(Team t) const {
  const SpectralLayer<A>& l = layer_of(table, t.block());
  const int64_t step = rows(table.cuda, l.R), first = (t.block() - l.first_block) * step;
  const int64_t last = first + step < l.O ? first + step : l.O;
  for (int64_t o = first; o < last; ++o) {
    const A s = dot(t, l.w + o * l.R, l.v, l.R);
    if (t.rank() == 0) l.new_u[o] = s;
  }
}

template <class A>
template <class Team>
FIRN_DEVICE void SpectralNorms<A>::operator()(Team t) const {
  const SpectralLayer<A>& l = table.layers[t.block()];
  const A of_v = std::sqrt(dot(t, l.v, l.v, l.R)) + eps;
  const A length = std::sqrt(dot(t, l.new_u, l.new_u, l.O)) / of_v, of_u = length + eps;
  for (int64_t i = t.rank(); i < l.R; i += t.size()) l.v[i] /= of_v;
  for (int64_t i = t.rank(); i < l.O; i += t.size()) {
    const A u = l.new_u[i] / of_v / of_u;
    l.new_u[i] = u;
    if (l.kept) l.kept[i] = u;
  }
  if (t.rank() == 0) *l.sigma = length / of_u * length;
}

}  // namespace firn::kernels

using namespace firn::kernels;
FIRN_KERNEL(SpectralColumns<float>);
FIRN_KERNEL(SpectralColumns<double>);
FIRN_KERNEL(SpectralRows<float>);
FIRN_KERNEL(SpectralRows<double>);
FIRN_KERNEL(SpectralNorms<float>);
FIRN_KERNEL(SpectralNorms<double>);
