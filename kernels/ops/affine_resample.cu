#include "kernels/ops/affine_resample.h"

#include <cmath>

#include "kernels/core/team.h"

namespace firn::kernels {

namespace resample {

constexpr int kReach = 7;  // pixels of an axis that a sample may take

// Where sample (j, i) lies in the doubled image.
template <class T>
struct Map {
  T xx, xy, x0, yx, yy, y0;  // x = xx i + xy j + x0
  FIRN_DEVICE Map(const T* m, const ResampleAxis& across, const ResampleAxis& down)
      : xx(m[0]),
        xy(m[1]),
        x0(2 * m[2] + T(across.size - 1) - m[0] * T(across.size + 4) - m[1] * T(down.size + 4)),
        yx(m[3]),
        yy(m[4]),
        y0(2 * m[5] + T(down.size - 1) - m[3] * T(across.size + 4) - m[4] * T(down.size + 4)) {}
  FIRN_DEVICE T x(int j, int i) const { return xx * T(i) + xy * T(j) + x0; }
  FIRN_DEVICE T y(int j, int i) const { return yx * T(i) + yy * T(j) + y0; }
};

// What a sample at `place` of the doubled axis takes of reflected pixels.
template <class T>
struct Sample {
  int at = 0;  // place, rounded down
  T low = 0, high = 0;
  bool any = false;
  FIRN_DEVICE Sample(T place, const ResampleAxis& axis) {
    const int first = -2 * axis.before, end = 2 * (axis.size + axis.behind);
    if (!(place > T(first - 1) && place < T(end))) return;  // nor where it is no number
    const T below = std::floor(place), share = place - below;
    at = int(below);
    low = at >= first ? 2 * (1 - share) : T(0);
    high = at + 1 < end ? 2 * share : T(0);
    any = true;
  }
  FIRN_DEVICE int first_pixel() const { return (at - 5) >> 1; }
  FIRN_DEVICE T weight(int pixel, const T* f) const {
    const int k = 5 + at - 2 * pixel + AffineResample<T>::zeros;
    return k >= 0 && k <= AffineResample<T>::taps + AffineResample<T>::zeros ? low * f[k] + high * f[k + 1] : T(0);
  }
};

FIRN_DEVICE inline int reflected(int pixel, const ResampleAxis& axis) {
  const int inner = pixel < 0 ? -pixel : pixel;
  return inner < axis.size ? inner : 2 * (axis.size - 1) - inner;
}

template <class T>
struct Window {
  T weight[kReach];
  int pixel[kReach];
  bool inner;  // pixels follow each other
  FIRN_DEVICE Window(const Sample<T>& s, const ResampleAxis& axis, const T* f) {
    const int first = s.first_pixel();
    inner = first >= 0 && first + kReach <= axis.size;
    const T* tap = f + 5 + s.at - 2 * first + AffineResample<T>::zeros;  // within f for all that are reached
    for (int k = 0; k < kReach; ++k, tap -= 2) weight[k] = s.low * tap[0] + s.high * tap[1];
    for (int k = 0; k < kReach; ++k) pixel[k] = first + k;
    if (inner) return;
    for (int k = 0; k < kReach; ++k) {
      const int p = first + k;
      const bool there = p >= -axis.before && p < axis.size + axis.behind;
      if (!there) weight[k] = 0;
      pixel[k] = there ? reflected(p, axis) : 0;
    }
  }
};

// A team of one, for which rows of pixels are vectors; many threads would need too many registers for them.
template <class Team>
inline constexpr bool kAlone = requires {
  std::integral_constant<int, Team::size()>{};
};

// First and end of the pixels that a sample takes, those beyond what is reflected left out.
template <class T>
struct Taken {
  int first, end;
  FIRN_DEVICE Taken(const Sample<T>& s, const ResampleAxis& axis) : first(s.first_pixel()), end(first + kReach) {
    if (first < -axis.before) first = -axis.before;
    if (end > axis.size + axis.behind) end = axis.size + axis.behind;
  }
};

// body(reflected y, reflected x, weight) for each pixel that a sample takes.
template <class T, class Body>
FIRN_DEVICE void for_pixels(const AffineResample<T>& k, const Sample<T>& sx, const Sample<T>& sy, Body body) {
  const Taken<T> across(sx, k.across), down(sy, k.down);
  for (int y = down.first; y < down.end; ++y) {
    const T weight = sy.weight(y, k.f);
    const int row = reflected(y, k.down);
    for (int x = across.first; x < across.end; ++x) body(row, reflected(x, k.across), weight * sx.weight(x, k.f));
  }
}

// body(first channel, width), the width a constant.
template <class Body>
FIRN_DEVICE void for_channels(int C, Body body) {
  if (C == 3) return body(0, std::integral_constant<int, 3>{});
  if (C == 4) return body(0, std::integral_constant<int, 4>{});
  for (int c = 0; c < C; ++c) body(c, std::integral_constant<int, 1>{});
}

// First and last whole number i with -reach < slope i + offset < reach, widened by one; none where the last is smaller.
template <class T>
struct Range {
  int first, last;
  FIRN_DEVICE void narrow(T slope, T offset, T reach) {
    const T size = slope < 0 ? -slope : slope;
    if (!(size > T(1e-6))) {  // a slope that moves nothing along a whole row
      if (!(offset > -reach - 1 && offset < reach + 1)) last = first - 1;
      return;
    }
    const T middle = -offset / slope, half = reach / size + 1;
    if (!(middle + half >= T(first) && middle - half <= T(last))) {
      last = first - 1;
      return;
    }
    if (middle - half > T(first)) first = int(std::floor(middle - half));
    if (middle + half < T(last)) last = int(std::ceil(middle + half));
  }
};

}  // namespace resample

using namespace resample;

template <class T>
template <class Team>
FIRN_DEVICE void AffineResample<T>::operator()(Team t) const {
  const int n = int(t.block() / rows()), j = int(t.block() % rows()), W = across.size, channels = int(C);
  const Map<T> map(matrix + 6 * n, across, down);
  const T* image = x + int64_t{n} * down.size * W * C;
  T* row = y + t.block() * columns() * C;
  for (int i = t.rank(); i < int(columns()); i += t.size()) {
    const Sample<T> sx(map.x(j, i), across), sy(map.y(j, i), down);
    T* out = row + int64_t{i} * C;
    if (!sx.any || !sy.any) {
      for (int c = 0; c < channels; ++c) out[c] = 0;
      continue;
    }
    if constexpr (kAlone<Team>) {
      const Window<T> wx(sx, across, f), wy(sy, down, f);
      for_channels(channels, [&](int c, auto width) {
        T sums[width] = {};
        if (wx.inner && width == channels) {
          constexpr int size = kReach * width;
          T line[size] = {};
          for (int a = 0; a < kReach; ++a) {
            const T* pixels = image + (int64_t{wy.pixel[a]} * W + wx.pixel[0]) * width;
            for (int e = 0; e < size; ++e) line[e] += wy.weight[a] * pixels[e];
          }
          for (int b = 0; b < kReach; ++b)
            for (int v = 0; v < width; ++v) out[v] = (sums[v] += wx.weight[b] * line[b * width + v]);
          return;
        }
        for (int a = 0; a < kReach; ++a) {
          T line[width] = {};
          const T* pixels = image + int64_t{wy.pixel[a]} * W * C + c;
          for (int b = 0; b < kReach; ++b)
            for (int v = 0; v < width; ++v) line[v] += wx.weight[b] * pixels[wx.pixel[b] * channels + v];
          for (int v = 0; v < width; ++v) sums[v] += wy.weight[a] * line[v];
        }
        for (int v = 0; v < width; ++v) out[c + v] = sums[v];
      });
    } else {
      for_channels(channels, [&](int c, auto width) {
        T sums[width] = {};
        for_pixels(*this, sx, sy, [&](int h, int w, T weight) {
          const T* pixel = image + (int64_t{h} * W + w) * channels + c;
          for (int v = 0; v < width; ++v) sums[v] += weight * pixel[v];
        });
        for (int v = 0; v < width; ++v) out[c + v] = sums[v];
      });
    }
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void AffineScatter<T>::operator()(Team t) const {
  const int n = int(t.block()), W = k.across.size, H = k.down.size, channels = int(k.C);
  const Map<T> map(k.matrix + 6 * n, k.across, k.down);
  T* image = x + int64_t{n} * H * W * k.C;
  for (int64_t e = 0; e < int64_t{H} * W * k.C; ++e) image[e] = 0;
  for (int j = 0; j < int(k.rows()); ++j)
    for (int i = 0; i < int(k.columns()); ++i) {
      const Sample<T> sx(map.x(j, i), k.across), sy(map.y(j, i), k.down);
      if (!sx.any || !sy.any) continue;
      const T* in = k.y + ((int64_t{n} * k.rows() + j) * k.columns() + i) * k.C;
      const Window<T> wx(sx, k.across, k.f), wy(sy, k.down, k.f);
      for_channels(channels, [&](int c, auto width) {
        if (wx.inner && width == channels) {
          constexpr int size = kReach * width;
          T line[size];
          for (int b = 0; b < kReach; ++b)
            for (int v = 0; v < width; ++v) line[b * width + v] = wx.weight[b] * in[v];
          for (int a = 0; a < kReach; ++a) {
            T* pixels = image + (int64_t{wy.pixel[a]} * W + wx.pixel[0]) * width;
            for (int e = 0; e < size; ++e) pixels[e] += wy.weight[a] * line[e];
          }
          return;
        }
        for (int a = 0; a < kReach; ++a) {
          T* pixels = image + int64_t{wy.pixel[a]} * W * k.C + c;
          for (int b = 0; b < kReach; ++b) {
            const T w = wy.weight[a] * wx.weight[b];
            for (int v = 0; v < width; ++v) pixels[wx.pixel[b] * channels + v] += w * in[c + v];
          }
        }
      });
    }
}

template <class T>
template <class Team>
FIRN_DEVICE void AffineGather<T>::operator()(Team t) const {
  const int n = int(t.block()) / chunks(), first = (int(t.block()) - n * chunks()) * chunk, channels = int(k.C);
  const int W = k.across.size, H = k.down.size, rows = int(k.rows()), columns = int(k.columns());
  const int last = first + chunk < H * W ? first + chunk : H * W;
  const Map<T> map(k.matrix + 6 * n, k.across, k.down);
  const T* seen = k.y + int64_t{n} * rows * columns * k.C;
  const T determinant = map.xx * map.yy - map.xy * map.yx;
  const T size = determinant < 0 ? -determinant : determinant;
  const auto magnitude = [](T v) { return v < 0 ? -v : v; };
  constexpr T reach = 6.5;  // a pixel p is seen from 2 p + 1/2 - 6.5 to 2 p + 1/2 + 6.5
  for (int p = first + t.rank(); p < last; p += t.size()) {
    const int h = p / W, w = p - h * W;
    for_channels(channels, [&](int c, auto width) {
      T sums[width] = {};
      for (int a = 0; a < 3; ++a)
        for (int b = 0; b < 3; ++b) {  // itself, and what reflects it: before the image, and behind it
          const int py = a == 0 ? h : a == 1 ? -h : 2 * (H - 1) - h, px = b == 0 ? w : b == 1 ? -w : 2 * (W - 1) - w;
          if ((a > 0 && py == h) || (b > 0 && px == w)) continue;
          if (py < -k.down.before || py >= H + k.down.behind || px < -k.across.before || px >= W + k.across.behind)
            continue;
          const T cx = T(2 * px) + T(0.5), cy = T(2 * py) + T(0.5);
          Range<T> js{0, rows - 1};
          if (size > T(1e-3)) {  // else every row is asked
            const T centre = (map.xx * (cy - map.y0) - map.yx * (cx - map.x0)) / determinant;
            js.narrow(1, -centre, reach * (magnitude(map.xx) + magnitude(map.yx)) / size);
          }
          for (int j = js.first; j <= js.last; ++j) {
            Range<T> is{0, columns - 1};
            is.narrow(map.xx, map.xy * T(j) + map.x0 - cx, reach);
            is.narrow(map.yx, map.yy * T(j) + map.y0 - cy, reach);
            for (int i = is.first; i <= is.last; ++i) {
              const Sample<T> sx(map.x(j, i), k.across), sy(map.y(j, i), k.down);
              if (!sx.any || !sy.any) continue;
              const T weight = sx.weight(px, k.f) * sy.weight(py, k.f);
              const T* in = seen + (int64_t{j} * columns + i) * channels + c;
              for (int v = 0; v < width; ++v) sums[v] += weight * in[v];
            }
          }
        }
      for (int v = 0; v < width; ++v) x[(int64_t{n} * H * W + p) * channels + c + v] = sums[v];
    });
  }
}

}  // namespace firn::kernels

using namespace firn::kernels;
FIRN_KERNEL(AffineResample<float>);
FIRN_KERNEL(AffineResample<double>);
FIRN_CPU_KERNEL(AffineScatter<float>);
FIRN_CPU_KERNEL(AffineScatter<double>);
FIRN_KERNEL(AffineGather<float>);
FIRN_KERNEL(AffineGather<double>);
