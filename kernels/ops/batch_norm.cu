#include "kernels/ops/batch_norm.h"

#include <cmath>

#include "kernels/core/columns.h"

namespace firn::kernels {

// Where a block of these rows stands: its group, and its pixels [first, last) of it.
struct BatchNormPlace {
  int64_t group, first, last;
  template <class T>
  FIRN_DEVICE BatchNormPlace(const NormalizedRows<T>& n, int64_t block)
      : group(block / n.blocks_per_group()), first(block % n.blocks_per_group() * n.rows_per_block()) {
    last = first + n.rows_per_block() < n.P ? first + n.rows_per_block() : n.P;
  }
};

// Of some channels: t = (x - mean) scale + shift.
template <class A, int width>
struct BatchNormLine {
  A mean[width], scale[width], shift[width];
};

template <class A, int width>
struct BatchNormTangents {
  BatchNormLine<A, width> of;
  A level[width], slope[width];
};

template <class T>
struct BatchNormLines {
  using A = acc_t<T>;
  const A *mean, *rstd, *gamma, *beta;
  FIRN_DEVICE BatchNormLines(const NormalizedRows<T>& n, const BatchNormPlace& at)
      : mean(n.mean), rstd(n.rstd), gamma(n.gamma + at.group * n.C), beta(n.beta + at.group * n.C) {}
  template <int width>
  FIRN_DEVICE BatchNormLine<A, width> of(int64_t c) const {
    BatchNormLine<A, width> k;
    for (int v = 0; v < width; ++v) {
      k.mean[v] = mean[c + v];
      k.scale[v] = rstd[c + v] * gamma[c + v];
      k.shift[v] = beta[c + v];
    }
    return k;
  }
};

namespace {
// f(std::true_type) or f(std::false_type): a branch outside of a loop, not within.
template <class F>
FIRN_DEVICE void chosen(bool condition, F f) {
  condition ? f(std::true_type{}) : f(std::false_type{});
}
}  // namespace

template <class T>
template <class Team>
FIRN_DEVICE void PartMoments<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t first = t.block() * rows_per_part(), last = first + rows_per_part() < R ? first + rows_per_part() : R;
  const A share = 1 / A(last - first);
  A *const sum = sums + t.block() * C, *const square = squares + t.block() * C;
  const Columns columns(t, C, has_vectors(C, x));
  columns.each([&](auto c, auto width) {
    A s[width] = {};
    columns.rows(first, last, [&](int64_t i) {
      const auto u = read<width>(x + i * C + c);
      for (int v = 0; v < width; ++v) s[v] += A(u[v]);
    });
    columns.template put<2>(0, c, s, sum);
  });
  columns.template finish<2>(0, sum);
  t.sync();  // the sums of a channel are read by all threads that have rows of it
  columns.each([&](auto c, auto width) {
    A s[width] = {}, mean[width];
    for (int v = 0; v < width; ++v) mean[v] = sum[c + v] * share;
    columns.rows(first, last, [&](int64_t i) {
      const auto u = read<width>(x + i * C + c);
      for (int v = 0; v < width; ++v) s[v] += (A(u[v]) - mean[v]) * (A(u[v]) - mean[v]);
    });
    columns.template put<2>(1, c, s, square);
  });
  columns.template finish<2>(1, square);
}

template <class A>
template <class Team>
FIRN_DEVICE void JoinMoments<A>::operator()(Team t) const {
  const int64_t begin = t.block() * columns, here = begin + columns < C ? columns : C - begin;
  const A *const sum = sums + begin, *const square = squares + begin;
  A *const offset = mean + begin, *const spread = rstd + begin;  // until they are what they are called
  const A first = A(rows_per_part < R ? rows_per_part : R);
  // About the mean of the first part, which is near: nothing cancels that matters.
  const Columns share(t, here, has_vectors(here, sum) && C % kVector == 0);
  share.each([&](auto c, auto width) {
    A off[width] = {}, s[width] = {};
    share.rows(0, parts, [&](int64_t p) {
      const int64_t left = R - p * rows_per_part;
      const A rows = A(left < rows_per_part ? left : rows_per_part);
      const auto u = read<width>(sum + p * C + c), w = read<width>(square + p * C + c);
      for (int v = 0; v < width; ++v) {
        const A d = A(u[v]) / rows - sum[c + v] / first;
        off[v] += rows * d;
        s[v] += A(w[v]) + rows * d * d;
      }
    });
    share.template put<2>(0, c, off, offset);
    share.template put<2>(1, c, s, spread);
  });
  share.template finish<2>(0, offset);
  share.template finish_next<2>(1, spread);
  for (int64_t c = t.rank(); c < here; c += t.size()) {
    const A off = offset[c] / A(R), m = sum[c] / first + off, s = spread[c] - offset[c] * off;
    offset[c] = m;
    spread[c] = 1 / std::sqrt(s / A(R) + eps);
    if (avg_mean) avg_mean[begin + c] = decay * avg_mean[begin + c] + (1 - decay) * m;
    if (avg_var) avg_var[begin + c] = decay * avg_var[begin + c] + (1 - decay) * s / A(R > 1 ? R - 1 : 1);
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void BatchNormApply<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const BatchNormPlace at(n, t.block());
  const int64_t C = n.C;
  const T* const x = n.x + at.group * n.P * C;
  T* const to = y + at.group * n.P * C;
  const auto line = [lines = BatchNormLines<T>(n, at)](int64_t c, auto width) { return lines.template of<width>(c); };
  chosen(n.relu, [&](auto relu) {
    each_pixel(t, at.first, at.last, C, has_vectors(C, x, to), line,
               [=](int64_t i, int64_t c, auto width, const auto& k) {
                 const auto u = read<width>(x + i * C + c);
                 write<width>(to + i * C + c, [&](int v) {
                   const A value = (A(u[v]) - k.mean[v]) * k.scale[v] + k.shift[v];
                   return T(relu && value < 0 ? A(0) : value);
                 });
               });
  });
}

template <class T>
template <class Team>
FIRN_DEVICE void BatchNormSums<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const BatchNormPlace at(n, t.block());
  const int64_t C = n.C, offset = at.group * n.P * C;
  const T *const x = n.x + offset, *const g = gy + offset;
  const BatchNormLines<T> lines(n, at);
  A *const plain = sums + t.block() * C, *const dots = plain + blocks() * C;
  if constexpr (Team::vector > 1) {  // whole rows, as in each_pixel; the sums stay in the nearest cache
    A* __restrict const sum = plain, * __restrict const dot = dots;
    for (int64_t c = 0; c < C; ++c) sum[c] = dot[c] = 0;
    chosen(n.relu, [&](auto relu) {
      for (int64_t i = at.first; i < at.last; ++i)
        for_vectors(t, C, [&](int64_t c, auto width) {
          A off[width], passed[width];  // a loop of its own: with the sums in it, it would branch
          for (int v = 0; v < width; ++v) {
            const auto k = lines.template of<1>(c + v);
            off[v] = A(x[i * C + c + v]) - k.mean[0];
            const A here = A(g[i * C + c + v]);
            passed[v] = !relu || off[v] * k.scale[0] + k.shift[0] > 0 ? here : A(0);
          }
          for (int v = 0; v < width; ++v) {
            sum[c + v] += passed[v];
            dot[c + v] += passed[v] * off[v];
          }
        });
    });
  } else {
    const Columns columns(t, C, has_vectors(C, x, g));
    chosen(n.relu, [&](auto relu) {
      columns.each([&](auto c, auto width) {
        A sum[width] = {}, dot[width] = {};
        const auto k = lines.template of<width>(c);
        columns.rows(at.first, at.last, [&](int64_t i) {
          const auto u = read<width>(x + i * C + c), w = read<width>(g + i * C + c);
          for (int v = 0; v < width; ++v) {
            const A off = A(u[v]) - k.mean[v], passed = !relu || off * k.scale[v] + k.shift[v] > 0 ? A(w[v]) : A(0);
            sum[v] += passed;
            dot[v] += passed * off;
          }
        });
        columns.template put<2>(0, c, sum, plain);
        columns.template put<2>(1, c, dot, dots);
      });
    });
    columns.template finish<2>(0, plain);
    columns.template finish_next<2>(1, dots);
  }
}

template <class A>
template <class Team>
FIRN_DEVICE void BatchNormJoin<A>::operator()(Team t) const {
  const int64_t begin = t.block() * columns, end = begin + columns < C ? begin + columns : C;
  for (int64_t c = begin + t.rank(); c < end; c += t.size()) {
    A plain = 0, dots = 0;
    for (int64_t i = c; i < G * C; i += C) {
      const A dot = sums[G * C + i] * rstd[c];
      gbeta[i] = sums[i];
      ggamma[i] = dot;
      plain += gamma[i] * sums[i];
      dots += gamma[i] * dot;
    }
    level[c] = constants ? A(0) : -rstd[c] * plain / A(R);
    slope[c] = constants ? A(0) : -rstd[c] * rstd[c] * dots / A(R);
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void BatchNormGrad<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const BatchNormPlace at(n, t.block());
  const int64_t C = n.C, offset = at.group * n.P * C;
  const T *const x = n.x + offset, *const g = gy + offset;
  T* const to = gx + offset;
  const auto line = [lines = BatchNormLines<T>(n, at), l = level, s = slope](int64_t c, auto width) {
    BatchNormTangents<A, width> k{lines.template of<width>(c), {}, {}};
    for (int v = 0; v < width; ++v) {
      k.level[v] = l[c + v];
      k.slope[v] = s[c + v];
    }
    return k;
  };
  chosen(n.relu, [&](auto relu) {
    each_pixel(t, at.first, at.last, C, has_vectors(C, x, g, to), line,
               [=](int64_t i, int64_t c, auto width, const auto& k) {
                 const auto u = read<width>(x + i * C + c), w = read<width>(g + i * C + c);
                 write<width>(to + i * C + c, [&](int v) {
                   const A off = A(u[v]) - k.of.mean[v], here = A(w[v]);
                   const A passed = !relu || off * k.of.scale[v] + k.of.shift[v] > 0 ? here : A(0);
                   return T(k.of.scale[v] * passed + k.level[v] + k.slope[v] * off);
                 });
               });
  });
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(PartMoments<float>);
FIRN_KERNEL(PartMoments<bf16>);
FIRN_KERNEL(PartMoments<double>);
FIRN_KERNEL(JoinMoments<float>);
FIRN_KERNEL(JoinMoments<double>);
FIRN_KERNEL(BatchNormApply<float>);
FIRN_KERNEL(BatchNormApply<bf16>);
FIRN_KERNEL(BatchNormApply<double>);
FIRN_KERNEL(BatchNormSums<float>);
FIRN_KERNEL(BatchNormSums<bf16>);
FIRN_KERNEL(BatchNormSums<double>);
FIRN_KERNEL(BatchNormJoin<float>);
FIRN_KERNEL(BatchNormJoin<double>);
FIRN_KERNEL(BatchNormGrad<float>);
FIRN_KERNEL(BatchNormGrad<bf16>);
FIRN_KERNEL(BatchNormGrad<double>);
