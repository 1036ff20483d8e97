#include "kernels/ops/window_pool.h"

#include <cmath>

#include "kernels/core/columns.h"

namespace firn::kernels {

struct WindowSpan {
  int first, last;
};

FIRN_DEVICE inline int within(int64_t v, int64_t most) { return int(v < 0 ? 0 : v < most ? v : most); }

// Taps of the window at `i` that an image of n has.
FIRN_DEVICE inline WindowSpan taps(int64_t i, int64_t n, const WindowSizes& s) {
  const int64_t begin = i * s.stride - s.pad;
  return {within(-begin, s.size), within(n - begin, s.size)};
}

// Windows, of `count`, that pixel `i` is in.
FIRN_DEVICE inline WindowSpan windows(int64_t i, int64_t count, const WindowSizes& s) {
  return {within((i + s.pad - s.size + s.stride) / s.stride, count), within((i + s.pad) / s.stride + 1, count)};
}

FIRN_DEVICE inline WindowSpan around(int64_t i, int64_t n, int size) {
  return {within(i - size / 2, n), within(i + size / 2 + 1, n)};
}

template <class T>
template <class Team>
FIRN_DEVICE void MaxPool<T>::operator()(Team t) const {
  const int64_t n = t.block() / s.OH, row = t.block() % s.OH;
  const WindowSpan ys = taps(row, s.H, s);
  const Columns columns(t, s.C, has_vectors(s.C, x, y));
  const auto rows = [&](auto c, auto width, auto finds) {
    columns.rows(0, s.OW, [&](int64_t column) {
      const WindowSpan xs = taps(column, s.W, s);
      const int64_t to = (t.block() * s.OW + column) * s.C + c;
      acc_t<T> best[width];
      int where[width];
      for (int v = 0; v < width; ++v) {
        best[v] = -INFINITY;
        where[v] = ys.first * s.size + xs.first;
      }
      for (int i = ys.first; i < ys.last; ++i) {
        const int64_t h = row * s.stride - s.pad + i, w = column * s.stride - s.pad + xs.first;
        const T* from = x + ((n * s.H + h) * s.W + w) * s.C + c;
        for (int j = xs.first; j < xs.last; ++j, from += s.C) {
          const auto u = read<width>(from);
          for (int v = 0; v < width; ++v) {
            const auto a = acc_t<T>(u[v]);
            const bool larger = a > best[v] || a != a;
            best[v] = larger ? a : best[v];
            if constexpr (finds) where[v] = larger ? i * s.size + j : where[v];
          }
        }
      }
      write<width>(y + to, [&](int v) { return T(best[v]); });
      if constexpr (finds)
        for (int v = 0; v < width; ++v) at[to + v] = where[v];
    });
  };
  if (at)
    columns.each([&](auto c, auto width) { rows(c, width, std::true_type{}); });
  else
    columns.each([&](auto c, auto width) { rows(c, width, std::false_type{}); });
}

template <class T>
template <class Team>
FIRN_DEVICE void PickFromWindow<T>::operator()(Team t) const {
  const int64_t n = t.block() / s.OH, row = t.block() % s.OH;
  for (int64_t i = t.rank(); i < s.OW * s.C; i += t.size()) {
    const int64_t to = t.block() * s.OW * s.C + i, column = i / s.C;
    const int64_t h = row * s.stride - s.pad + at[to] / s.size, w = column * s.stride - s.pad + at[to] % s.size;
    y[to] = x[((n * s.H + h) * s.W + w) * s.C + i % s.C];
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void PutIntoWindow<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t n = t.block() / s.H, h = t.block() % s.H;
  const WindowSpan ys = windows(h, s.OH, s);
  const Columns columns(t, s.C, has_vectors(s.C, x, y));
  columns.each([&](auto c, auto width) {
    columns.rows(0, s.W, [&](int64_t w) {
      const WindowSpan xs = windows(w, s.OW, s);
      A sum[width] = {};
      for (int64_t i = ys.first; i < ys.last; ++i)
        for (int64_t j = xs.first; j < xs.last; ++j) {
          const int64_t from = ((n * s.OH + i) * s.OW + j) * s.C + c;
          const int place = int(h + s.pad - i * s.stride) * s.size + int(w + s.pad - j * s.stride);
          const auto u = read<width>(y + from);
          for (int v = 0; v < width; ++v) sum[v] += at[from + v] == place ? A(u[v]) : A(0);
        }
      write<width>(x + (t.block() * s.W + w) * s.C + c, [&](int v) { return T(sum[v]); });
    });
  });
}

template <class T>
template <class Team>
FIRN_DEVICE void MeanAround<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t n = t.block() / H, h = t.block() % H;
  const WindowSpan ys = around(h, H, size);
  const auto share = [](const WindowSpan& a, const WindowSpan& b) {
    return 1 / A((a.last - a.first) * (b.last - b.first));
  };
  const Columns columns(t, C, has_vectors(C, x, y));
  const auto rows = [&](auto c, auto width, auto divides_first) {
    columns.rows(0, W, [&](int64_t w) {
      const WindowSpan xs = around(w, W, size);
      A sum[width] = {};
      for (int64_t i = ys.first; i < ys.last; ++i)
        for (int64_t j = xs.first; j < xs.last; ++j) {
          const auto u = read<width>(x + ((n * H + i) * W + j) * C + c);
          if constexpr (divides_first) {
            const A k = share(around(i, H, size), around(j, W, size));
            for (int v = 0; v < width; ++v) sum[v] += A(u[v]) * k;
          } else {
            for (int v = 0; v < width; ++v) sum[v] += A(u[v]);
          }
        }
      const A k = divides_first ? A(1) : share(ys, xs);
      write<width>(y + (t.block() * W + w) * C + c, [&](int v) { return T(sum[v] * k); });
    });
  };
  if (adjoint)
    columns.each([&](auto c, auto width) { rows(c, width, std::true_type{}); });
  else
    columns.each([&](auto c, auto width) { rows(c, width, std::false_type{}); });
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(MaxPool<float>);
FIRN_KERNEL(MaxPool<bf16>);
FIRN_KERNEL(MaxPool<double>);
FIRN_KERNEL(PickFromWindow<float>);
FIRN_KERNEL(PickFromWindow<bf16>);
FIRN_KERNEL(PickFromWindow<double>);
FIRN_KERNEL(PutIntoWindow<float>);
FIRN_KERNEL(PutIntoWindow<bf16>);
FIRN_KERNEL(PutIntoWindow<double>);
FIRN_KERNEL(MeanAround<float>);
FIRN_KERNEL(MeanAround<bf16>);
FIRN_KERNEL(MeanAround<double>);
