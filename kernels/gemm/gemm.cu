#include "kernels/gemm/gemm.h"

#include "kernels/core/columns.h"

namespace firn::kernels {

template <class T, class Y>
template <class Team>
FIRN_DEVICE void Gemm<T, Y>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t n = t.block() / p.M, m = t.block() % p.M;
  const T* an = a + (p.share_a ? 0 : n * p.M * p.K);
  const T* bn = b + (p.share_b ? 0 : n * p.K * p.N);
  for (int64_t j = t.rank(); j < p.N; j += t.size()) {
    A s = 0;
    for (int64_t k = 0; k < p.K; ++k) {
      const A u = A(p.trans_a ? an[k * p.M + m] : an[m * p.K + k]);
      const A v = A(p.trans_b ? bn[j * p.K + k] : bn[k * p.N + j]);
      s += u * v;
    }
    y[t.block() * p.N + j] = Y(s * A(p.alpha));
  }
}

namespace {
// f(o) for o < O <= 4. On a GPU the loop must unroll: an array whose index is not known lies in memory.
template <class Team, class F>
FIRN_DEVICE void for_few(int64_t O, F f) {
  if constexpr (Team::vector == 1) {
    for (int o = 0; o < 4; ++o)
      if (o < O) f(o);
  } else {
    for (int o = 0; o < int(O); ++o) f(o);
  }
}
}  // namespace

template <class T, class Y>
template <class Team>
FIRN_DEVICE void ThinReduce<T, Y>::operator()(Team t) const {
  using A = acc_t<T>;
  const int per_image = int((P + rows - 1) / rows), n = int(t.block()) / per_image;
  const int64_t first = int(t.block()) % per_image * rows, last = first + rows < P ? first + rows : P;
  const T* wn = w + (share_w ? 0 : n * O * C);
  if constexpr (Team::vector == 1) {  // a thread takes a pixel
    const bool vectors = has_vectors(C, x, wn);
    for (int64_t i = first + t.rank(); i < last; i += t.size()) {
      const T* xi = x + (n * P + i) * C;
      A s[4] = {};
      const auto add = [&](int c, auto width) {
        const auto u = read<width>(xi + c);
        for_few<Team>(O, [&](int o) {
          const auto k = read<width>(wn + o * C + c);
          for (int v = 0; v < width; ++v) s[o] += A(u[v]) * A(k[v]);
        });
      };
      if (vectors)
        for (int c = 0; c < int(C); c += kVector) add(c, std::integral_constant<int, kVector>{});
      else
        for (int c = 0; c < int(C); ++c) add(c, std::integral_constant<int, 1>{});
      for_few<Team>(O, [&](int o) { y[(n * P + i) * O + o] = Y(alpha * s[o]); });
    }
  } else {
    constexpr int V = Team::vector > 16 ? 16 : 1;
    for (int64_t q = first * O + t.rank(); q < last * O; q += t.size()) {
      const T* xi = x + (n * P + q / O) * C;
      const T* wo = wn + q % O * C;
      A lanes[V] = {};
      int64_t c = 0;
      for (; c + V <= C; c += V)
        for (int v = 0; v < V; ++v) lanes[v] += A(xi[c + v]) * A(wo[c + v]);
      A s = 0;
      for (int v = 0; v < V; ++v) s += lanes[v];
      for (; c < C; ++c) s += A(xi[c]) * A(wo[c]);
      y[n * P * O + q] = Y(alpha * s);
    }
  }
}

template <class T, class Y, class Then>
template <class Team>
FIRN_DEVICE void ThinExpand<T, Y, Then>::operator()(Team t) const {
  using A = acc_t<T>;
  const int per_image = int((P + rows - 1) / rows), n = int(t.block()) / per_image;
  const int64_t first = int(t.block()) % per_image * rows, last = first + rows < P ? first + rows : P;
  const T* wn = w + (share_w ? 0 : n * O * C);
  const Columns columns(t, C, has_vectors(C, y));
  columns.each([&](auto c, auto width) {
    A k[4][width] = {};  // this block's columns of w, reused for every pixel
    for_few<Team>(O, [&](int o) {
      for (int v = 0; v < width; ++v) k[o][v] = alpha * A(w_transposed ? wn[(c + v) * O + o] : wn[o * C + c + v]);
    });
    A b[width] = {};
    if constexpr (!std::is_same_v<Then, NoEpilogue>)
      for (int v = 0; v < width; ++v) b[v] = then.b ? then.b[c + v] : A(0);
    columns.rows(first, last, [&](int64_t i) {
      const T* xi = x + (n * P + i) * O;
      A u[4] = {};
      for_few<Team>(O, [&](int o) { u[o] = A(xi[o]); });
      write<width>(y + (n * P + i) * C + c, [&](int v) {
        const A s = u[0] * k[0][v] + u[1] * k[1][v] + u[2] * k[2][v] + u[3] * k[3][v] + b[v];
        if constexpr (std::is_same_v<Then, NoEpilogue>)
          return Y(s);
        else
          return Y(then.act(s));
      });
    });
  });
}

template <class T>
template <class Team>
FIRN_DEVICE void ThinOuter<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t n = t.block() / parts, p = t.block() % parts;
  const int64_t first = P * p / parts, last = P * (p + 1) / parts;
  A* yn = y + t.block() * O * C;
  const Columns columns(t, C, has_vectors(C, b));
  columns.each([&](auto c, auto width) {
    A s[4][width] = {};
    columns.rows(first, last, [&](int64_t i) {
      const T* ai = a + (n * P + i) * O;
      const auto bi = read<width>(b + (n * P + i) * C + c);
      A u[4] = {};
      for_few<Team>(O, [&](int o) { u[o] = alpha * A(ai[o]); });
      for (int v = 0; v < width; ++v) {
        const A g = A(bi[v]);
        s[0][v] += u[0] * g;
        s[1][v] += u[1] * g;
        s[2][v] += u[2] * g;
        s[3][v] += u[3] * g;
      }
    });
    for_few<Team>(
        O, [&](int o) { columns.template put<4>(o, c, s[o], yn + (transposed ? o : o * C), transposed ? int(O) : 1); });
  });
  for_few<Team>(O,
                [&](int o) { columns.template finish<4>(o, yn + (transposed ? o : o * C), transposed ? int(O) : 1); });
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(Gemm<float, float>);
FIRN_KERNEL(Gemm<bf16, bf16>);
FIRN_KERNEL(Gemm<bf16, float>);
FIRN_KERNEL(Gemm<double, double>);
FIRN_KERNEL(ThinReduce<float, float>);
FIRN_KERNEL(ThinReduce<bf16, bf16>);
FIRN_KERNEL(ThinReduce<bf16, float>);
FIRN_KERNEL(ThinReduce<double, double>);
FIRN_KERNEL(ThinExpand<float, float>);
FIRN_KERNEL(ThinExpand<bf16, bf16>);
FIRN_KERNEL(ThinExpand<bf16, float>);
FIRN_KERNEL(ThinExpand<double, double>);
FIRN_KERNEL(ThinExpand<float, float, Epilogue<float>>);
FIRN_KERNEL(ThinExpand<bf16, bf16, Epilogue<float>>);
FIRN_KERNEL(ThinExpand<double, double, Epilogue<double>>);
FIRN_KERNEL(ThinOuter<float>);
FIRN_KERNEL(ThinOuter<bf16>);
FIRN_KERNEL(ThinOuter<double>);
