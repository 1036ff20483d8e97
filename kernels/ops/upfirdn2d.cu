#include "kernels/core/team.h"
#include "kernels/ops/upfirdn2d.h"

namespace firn::kernels {

namespace {

// One output pixel, `width` channels from c on. U is `up` where it is 1 or 2, which turns the divisions by it into
// shifts; 0 for any other. Places within an image are 32 bits wide: a GPU divides 64 by calling a subroutine.
template <int U, class T, int width>
FIRN_DEVICE void filter_pixel(const Upfirdn2d<T>& k, const T* image, int base_y, int base_x, int64_t c, T* out) {
  using A = acc_t<T>;
  const int up = U ? U : k.up, H = int(k.H), W = int(k.W);
  A s[width] = {};
  for (int i = 0; i < k.taps; ++i) {
    const int uy = base_y + i;
    if (uy < 0 || (up > 1 && uy % up) || uy / up >= H) continue;
    const T* row = image + int64_t{uy / up} * W * k.C + c;
    for (int j = 0; j < k.taps; ++j) {
      const int ux = base_x + j;
      if (ux < 0 || (up > 1 && ux % up) || ux / up >= W) continue;
      const A f = k.gain * k.f[i] * k.f[j];
      const T* p = row + int64_t{ux / up} * k.C;
      for (int v = 0; v < width; ++v) s[v] += f * A(p[v]);
    }
  }
  for (int v = 0; v < width; ++v) out[v] = T(s[v]);
}

// Four taps, no zeros inserted: the sums over a column are shared by the four outputs that it belongs to.
template <class T, int width>
FIRN_DEVICE void filter_row(const Upfirdn2d<T>& k, const T* image, int64_t base_y, int64_t c, T* row) {
  using A = acc_t<T>;
  A column[4][width] = {};
  const auto next = [&](int64_t x) {
    for (int j = 0; j < 3; ++j)
      for (int v = 0; v < width; ++v) column[j][v] = column[j + 1][v];
    A s[width] = {};
    if (x >= 0 && x < k.W) {
      for (int i = 0; i < 4; ++i) {
        const int64_t y = base_y + i;
        if (y < 0 || y >= k.H) continue;
        const T* p = image + (y * k.W + x) * k.C + c;
        const A f = k.gain * k.f[i];
        for (int v = 0; v < width; ++v) s[v] += f * A(p[v]);
      }
    }
    for (int v = 0; v < width; ++v) column[3][v] = s[v];
  };
  int64_t x = -k.pad_x;
  for (int j = 0; j < 4 - k.down; ++j) next(x++);
  for (int64_t ox = 0; ox < k.OW; ++ox) {
    for (int j = 0; j < k.down; ++j) next(x++);
    T* out = row + ox * k.C + c;
    for (int v = 0; v < width; ++v)
      out[v] = T(k.f[0] * column[0][v] + k.f[1] * column[1][v] + k.f[2] * column[2][v] + k.f[3] * column[3][v]);
  }
}

// Many taps, few channels: a row of x is summed along y once for all pixels of the row of y.
template <class T>
void filter_long(const Upfirdn2d<T>& k, const T* image, int base_y, T* row) {
  using A = acc_t<T>;
  constexpr int room = 1024;
  A sums[room];
  const int C = int(k.C), W = int(k.W), OW = int(k.OW);
  const auto first_from = [&](int place) { return place <= 0 ? 0 : (place + k.up - 1) / k.up; };
  const int at_once = ((room / C - 2) * k.up - k.taps) / k.down;
  for (int begin = 0; begin < OW; begin += at_once) {
    const int end = begin + at_once < OW ? begin + at_once : OW, last_place = (end - 1) * k.down - k.pad_x + k.taps - 1;
    const int first = first_from(begin * k.down - k.pad_x);
    const int behind = last_place < 0 ? 0 : last_place / k.up + 1 < W ? last_place / k.up + 1 : W;
    const int count = behind > first ? (behind - first) * C : 0;
    for (int e = 0; e < count; ++e) sums[e] = 0;
    for (int i = 0; i < k.taps; ++i) {
      const int uy = base_y + i;
      if (uy < 0 || uy % k.up || uy / k.up >= int(k.H)) continue;
      const A f = k.gain * k.f[i];
      const T* p = image + (int64_t{uy / k.up} * W + first) * C;
      for (int e = 0; e < count; ++e) sums[e] += f * A(p[e]);
    }
    for (int ox = begin; ox < end; ++ox) {
      const int base_x = ox * k.down - k.pad_x;
      for (int c = 0; c < C; ++c) {
        A s = 0;
        for (int x = first_from(base_x); x < behind && x * k.up - base_x < k.taps; ++x)
          s += k.f[x * k.up - base_x] * sums[(x - first) * C + c];
        row[ox * C + c] = T(s);
      }
    }
  }
}

}  // namespace

template <class T>
template <class Team>
FIRN_DEVICE void Upfirdn2d<T>::operator()(Team t) const {
  const int n = int(t.block()) / int(OH), oy = int(t.block()) % int(OH);
  const int base_y = oy * down - pad_y;
  const T* image = x + int64_t{n} * H * W * C;
  T* row = y + t.block() * OW * C;
  constexpr bool wide = Team::vector > 1;  // one thread walks a whole row; on CUDA threads share out its pixels
  if (wide && C >= 16 && up == 1 && taps == 4 && down <= 4) {
    for_vectors(t, C, [&](int64_t c, auto width) { filter_row<T, width>(*this, image, base_y, c, row); });
    return;
  }
  if constexpr (wide)
    if (C < 16 && taps > 4 && down <= 4) return filter_long(*this, image, base_y, row);
  const auto pixels = [&](auto known_up) {
    constexpr int U = known_up;
    if (!wide || C < 16) {
      const int channels = int(C);
      for (int q = t.rank(); q < int(OW) * channels; q += t.size())
        filter_pixel<U, T, 1>(*this, image, base_y, q / channels * down - pad_x, q % channels, row + q);
    } else {
      for (int ox = 0; ox < int(OW); ++ox)
        for_vectors(t, C, [&](int64_t c, auto width) {
          filter_pixel<U, T, width>(*this, image, base_y, ox * down - pad_x, c, row + ox * C + c);
        });
    }
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
