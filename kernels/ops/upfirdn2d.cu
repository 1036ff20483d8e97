#include "kernels/ops/upfirdn2d.h"

#include <algorithm>
#include <vector>

#include "kernels/core/team.h"

namespace firn::kernels {

namespace {

// Channel c of one output pixel. U is `up` where it is 1 or 2, which turns the divisions by it into shifts; 0 for any
// other. Places within an image are 32 bits wide: a GPU divides 64 by calling a subroutine.
template <int U, class T>
FIRN_DEVICE void filter_pixel(const Upfirdn2d<T>& k, const T* image, int base_y, int base_x, int64_t c, T* out) {
  using A = acc_t<T>;
  const int up = U ? U : k.up, H = int(k.H), W = int(k.W);
  A s = 0;
  for (int i = 0; i < k.taps; ++i) {
    const int uy = base_y + i;
    if (uy < 0 || (up > 1 && uy % up) || uy / up >= H) continue;
    const T* row = image + int64_t{uy / up} * W * k.C + c;
    for (int j = 0; j < k.taps; ++j) {
      const int ux = base_x + j;
      if (ux < 0 || (up > 1 && ux % up) || ux / up >= W) continue;
      const A f = k.gain * k.f[i] * k.f[j];
      s += f * A(row[int64_t{ux / up} * k.C]);
    }
  }
  *out = T(s);
}

}  // namespace

template <class T>
template <class Team>
FIRN_DEVICE void Upfirdn2d<T>::operator()(Team t) const {
  const int n = int(t.block()) / int(OH), oy = int(t.block()) % int(OH);
  const int base_y = oy * down - pad_y;
  const T* image = x + int64_t{n} * H * W * C;
  T* row = y + t.block() * OW * C;
  const auto pixels = [&](auto known_up) {
    constexpr int U = known_up;
    const int channels = int(C);
    for (int q = t.rank(); q < int(OW) * channels; q += t.size())
      filter_pixel<U>(*this, image, base_y, q / channels * down - pad_x, q % channels, row + q);
  };
  if (up == 1) {
    pixels(std::integral_constant<int, 1>{});
  } else if (up == 2) {
    pixels(std::integral_constant<int, 2>{});
  } else {
    pixels(std::integral_constant<int, 0>{});
  }
}

namespace {

template <class T>
struct alignas(16) Channels {
  T v[8];
};

// Which samples of x a place of y sees along one axis: the taps that fall on inserted zeros drop out.
template <int up>
struct Window {
  static constexpr int size = 4 / up;
  int first_tap, first;
  FIRN_DEVICE explicit Window(int base) : first_tap(up == 2 ? base & 1 : 0), first((base + first_tap) >> (up - 1)) {}
};

}  // namespace

template <class T, int up, int down, class Then>
template <class Team>
FIRN_DEVICE void Upfirdn2dVectors<T, up, down, Then>::operator()(Team t) const {
  using A = acc_t<T>;
  constexpr bool activated = !std::is_same_v<Then, NoEpilogue>;
  constexpr int size = Window<up>::size;
  const int H = int(k.H), W = int(k.W), OH = int(k.OH), OW = int(k.OW), C = int(k.C), per_pixel = C / 8;
  const int block = int(t.block()), chunk = block % chunks(), strip = block / chunks() % strips();
  const int n = block / chunks() / strips(), first = strip * rows, last = first + rows < OH ? first + rows : OH;
  const T* image = k.x + int64_t{n} * H * W * C;
  T* out = k.y + int64_t{n} * OH * OW * C;
  for (int e = t.rank(); e < columns; e += t.size()) {
    const int column = chunk * columns + e, ox = column / per_pixel, c = column % per_pixel * 8;
    if (ox >= OW) break;
    const Window<up> along(ox * down - k.pad_x);
    const int first_x = along.first;
    A f[size];
    for (int j = 0; j < size; ++j) f[j] = k.gain * k.f[along.first_tap + up * j];
    A sums[size][8] = {};  // of the last rows of x
    const auto add_row = [&](int y) {
      for (int i = 0; i + 1 < size; ++i)
        for (int v = 0; v < 8; ++v) sums[i][v] = sums[i + 1][v];
      A s[8] = {};
      for (int j = 0; j < size; ++j) {
        const int x = first_x + j;
        if (y < 0 || y >= H || x < 0 || x >= W) continue;
        const auto p = *reinterpret_cast<const Channels<T>*>(image + (int64_t{y} * W + x) * C + c);
        for (int v = 0; v < 8; ++v) s[v] += f[j] * A(p.v[v]);
      }
      for (int v = 0; v < 8; ++v) sums[size - 1][v] = s[v];
    };
    A d[8], b[8];
    if constexpr (activated)
      for (int v = 0; v < 8; ++v) {
        d[v] = then.d ? then.d[n * C + c + v] : A(1);
        b[v] = then.b ? then.b[c + v] : A(0);
      }
    int next = Window<up>(first * down - k.pad_y).first;
    for (int i = 0; i < size; ++i) add_row(next++);
    for (int oy = first; oy < last; ++oy) {
      const Window<up> down_y(oy * down - k.pad_y);
      for (int i = 0; i < down; ++i)
        if (next < down_y.first + size) add_row(next++);
      A nu = 0;
      if constexpr (activated) nu = then.noise_at(n, k.OH * k.OW, oy * OW + ox);
      Channels<T> y;
      for (int v = 0; v < 8; ++v) {
        A s = 0;
        for (int i = 0; i < size; ++i) s += k.f[down_y.first_tap + up * i] * sums[i][v];
        if constexpr (activated) s = then(s, d[v], b[v], nu);
        y.v[v] = T(s);
      }
      *reinterpret_cast<Channels<T>*>(out + (int64_t{oy} * OW + ox) * C + c) = y;
    }
  }
}

#ifndef __CUDACC__

// What an output's place along an axis sums: the samples that its taps meet, those on inserted zeros left out.
struct Meeting {
  int first_tap, first, count;
  Meeting(int base, int taps, int up)
      : first_tap((up - base % up) % up), first((base + first_tap) / up), count((taps - first_tap + up - 1) / up) {}
};

// Calls to(e, s) for all e < size: s = sum over i < count of f[i] p[i][e]. What to() stores lies elsewhere. A count
// that is known vectorises: to come to one, p[0] is added again, times 0.
template <class A, class T, class To>
void weigh(int64_t size, int count, const A* f, const T* const* p, To to) {
  const auto of = [&](auto known) {
    A k[known];
    const T* x[known];
    for (int i = 0; i < known; ++i) k[i] = i < count ? f[i] : A(0), x[i] = p[i < count ? i : 0];
#pragma GCC ivdep
    for (int64_t e = 0; e < size; ++e) {
      A s = 0;
      for (int i = 0; i < known; ++i) s += k[i] * A(x[i][e]);
      to(e, s);
    }
  };
  if (count <= 2) return of(std::integral_constant<int, 2>{});
  if (count <= 4) return of(std::integral_constant<int, 4>{});
  if (count <= 6) return of(std::integral_constant<int, 6>{});
  of(std::integral_constant<int, kMaxTaps>{});
}

template <class T, class Then>
template <class Team>
void Upfirdn2dRows<T, Then>::operator()(Team t) const {
  using A = acc_t<T>;
  const int n = int(t.block() / k.OH), oy = int(t.block() % k.OH), W = int(k.W);
  const int64_t C = k.C;
  const auto along_x = [&](int ox) { return Meeting(ox * k.down - k.pad_x, k.taps, k.up); };
  // The sums along y of the pixels that the row of y needs, with zeros for those outside of x.
  const int begin = along_x(0).first, end = along_x(int(k.OW) - 1).first + (k.taps + k.up - 1) / k.up;
  const int from = std::clamp(0, begin, end), to = std::clamp(W, from, end);
  struct alignas(64) Line {
    A v[64 / sizeof(A)];
  };
  static thread_local std::vector<Line> room;
  room.resize(std::max(room.size(), size_t((end - begin) * C) * sizeof(A) / sizeof(Line) + 1));
  A* const sums = room.data()->v - begin * C;
  std::fill(sums + begin * C, sums + from * C, A(0));
  std::fill(sums + to * C, sums + end * C, A(0));

  A f[kMaxTaps];
  const T* rows[kMaxTaps] = {k.x + (n * k.H * W + from) * C};
  int count = 0;
  const Meeting along_y(oy * k.down - k.pad_y, k.taps, k.up);
  for (int i = 0; i < along_y.count; ++i) {
    const int y = along_y.first + i;
    if (y < 0 || y >= k.H) continue;
    f[count] = k.gain * k.f[along_y.first_tap + k.up * i];
    rows[count++] = k.x + ((n * k.H + y) * W + from) * C;
  }
  weigh((to - from) * C, count, f, rows, [to_x = sums + from * C](int64_t e, A s) { to_x[e] = s; });

  constexpr bool plain = std::is_same_v<Then, NoEpilogue>;
  const int at_once = plain && k.up == 1 && k.down == 1 ? int(k.OW) : 1;  // neighbours differ in nothing
  const A* columns[kMaxTaps] = {sums + begin * C};
  for (int ox = 0; ox < k.OW; ox += at_once) {
    const Meeting window = along_x(ox);
    for (int j = 0; j < window.count; ++j) {
      f[j] = k.f[window.first_tap + k.up * j];
      columns[j] = sums + (window.first + j) * C;
    }
    T* const y = k.y + (t.block() * k.OW + ox) * C;
    const auto weigh_all = [&](auto then) {
      weigh(at_once * C, window.count, f, columns, [=](int64_t c, A s) { y[c] = T(then(c, s)); });
    };
    if constexpr (plain) {
      weigh_all([](int64_t, A s) { return s; });
    } else {
      const A nu = then.noise_at(n, k.OH * k.OW, oy * k.OW + ox);
      const A *const d = then.d ? then.d + n * C : nullptr, *const b = then.b;
      const Then e = then;
      if (d && b) {
        weigh_all([=](int64_t c, A s) { return e(s, d[c], b[c], nu); });
      } else if (d) {
        weigh_all([=](int64_t c, A s) { return e(s, d[c], A(0), nu); });
      } else if (b) {
        weigh_all([=](int64_t c, A s) { return e(s, A(1), b[c], nu); });
      } else {
        weigh_all([=](int64_t, A s) { return e(s, A(1), A(0), nu); });
      }
    }
  }
}

#endif

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(Upfirdn2d<float>);
FIRN_KERNEL(Upfirdn2d<bf16>);
FIRN_KERNEL(Upfirdn2d<double>);
FIRN_KERNEL(Upfirdn2dVectors<float, 1, 1>);
FIRN_KERNEL(Upfirdn2dVectors<float, 2, 1>);
FIRN_KERNEL(Upfirdn2dVectors<float, 1, 2>);
FIRN_KERNEL(Upfirdn2dVectors<bf16, 1, 1>);
FIRN_KERNEL(Upfirdn2dVectors<bf16, 2, 1>);
FIRN_KERNEL(Upfirdn2dVectors<bf16, 1, 2>);
FIRN_KERNEL(Upfirdn2dVectors<float, 1, 1, Epilogue<float>>);
FIRN_KERNEL(Upfirdn2dVectors<bf16, 1, 1, Epilogue<float>>);
FIRN_CPU_KERNEL(Upfirdn2dRows<float>);
FIRN_CPU_KERNEL(Upfirdn2dRows<bf16>);
FIRN_CPU_KERNEL(Upfirdn2dRows<double>);
FIRN_CPU_KERNEL(Upfirdn2dRows<float, Epilogue<float>>);
FIRN_CPU_KERNEL(Upfirdn2dRows<bf16, Epilogue<float>>);
FIRN_CPU_KERNEL(Upfirdn2dRows<double, Epilogue<double>>);
