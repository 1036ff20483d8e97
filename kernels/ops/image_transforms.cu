#include "kernels/ops/image_transforms.h"

#include "kernels/core/team.h"

namespace firn::kernels {

template <class T>
template <class Team>
FIRN_DEVICE void MixChannels<T>::operator()(Team t) const {
  const int64_t n = t.block() / chunks(), first = (t.block() - n * chunks()) * chunk;
  const int count = int(first + chunk < pixels ? chunk : pixels - first), channels = int(C);
  T w[most][most + 1] = {};
  for (int c = 0; c < channels; ++c) {
    for (int k = 0; k < channels; ++k) w[c][k] = m[(n * C + (transposed ? k : c)) * (C + 1) + (transposed ? c : k)];
    w[c][most] = offset ? m[(n * C + c) * (C + 1) + C] : T(0);
  }
  const T* from = x + (n * pixels + first) * C;
  T* to = y + (n * pixels + first) * C;
  const auto all = [&](auto known) {
    constexpr int channels = known;
    for (int p = t.rank(); p < count; p += t.size())
      for (int c = 0; c < channels; ++c) {
        T s = w[c][most];
        for (int k = 0; k < channels; ++k) s += w[c][k] * from[p * channels + k];
        to[p * channels + c] = s;
      }
  };
  if (channels == 1) {
    all(std::integral_constant<int, 1>{});
  } else if (channels == 2) {
    all(std::integral_constant<int, 2>{});
  } else if (channels == 3) {
    all(std::integral_constant<int, 3>{});
  } else {
    all(std::integral_constant<int, 4>{});
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void ShiftPixels<T>::operator()(Team t) const {
  const int64_t n = t.block() / H, row = int64_t(W) * C;
  const int dy = sign * int(by[2 * n]), dx = sign * int(by[2 * n + 1]), h = int(t.block() - n * H) + dy;
  const bool there = h >= 0 && h < int(H);
  const T* from = x + (n * H + (there ? h : 0)) * row;
  const int shift = dx * int(C);
  for (int e = t.rank(); e < int(row); e += t.size()) {
    const int source = e + shift;
    y[t.block() * row + e] = there && source >= 0 && source < int(row) ? from[source] : T(0);
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void CutOut<T>::operator()(Team t) const {
  const int64_t n = t.block() / H, row = int64_t(W) * C;
  const T* b = box + 4 * n;
  const auto within = [](T place, T centre, T half) {
    const T d = place - centre;
    return (d < 0 ? -d : d) < half;
  };
  const bool cut = within(T(t.block() - n * H) + T(0.5), b[0], b[2]);
  for (int e = t.rank(); e < int(row); e += t.size()) {
    const int64_t i = t.block() * row + e;
    y[i] = cut && within(T(e / int(C)) + T(0.5), b[1], b[3]) ? T(0) : x[i];
  }
}

namespace {

FIRN_DEVICE inline int reflected(int place, int size) {
  if (size == 1) return 0;
  const int period = 2 * (size - 1), inner = ((place % period) + period) % period;
  return inner < size ? inner : period - inner;
}

// body(v) for each place v from -radius to size - 1 + radius whose reflection is `place`.
template <class Body>
FIRN_DEVICE void for_reflections(int place, int size, int radius, Body body) {
  const int period = size == 1 ? 1 : 2 * (size - 1);
  for (int turned = 0; turned < 2; ++turned) {
    if (turned && (size == 1 || place == 0 || place == size - 1)) return;  // its own reflection
    const int start = turned ? -place : place;
    for (int v = start - (start + radius) / period * period; v < size + radius; v += period)
      if (v >= -radius) body(v);
  }
}

}  // namespace

template <class T>
template <class Team>
FIRN_DEVICE void FilterReflected<T>::operator()(Team t) const {
  const int n = int(t.block() / H), h = int(t.block() - n * H), channels = int(C), radius = taps / 2;
  const int size = along_rows ? int(W) : int(H), row = int(W) * channels;
  const T* image = x + int64_t{n} * H * row;
  const T* weights = f + int64_t{n} * taps;
  for (int e = t.rank(); e < row; e += t.size()) {
    const int w = e / channels, place = along_rows ? w : h;
    const T* line = along_rows ? image + int64_t{h} * row + e - w * channels : image + e;
    const int step = along_rows ? channels : row;
    T sum = 0;
    if (!transposed) {
      for (int i = 0; i < taps; ++i) sum += weights[i] * line[int64_t{reflected(place + i - radius, size)} * step];
    } else {
      for_reflections(place, size, radius, [&](int v) {
        for (int i = 0; i < taps; ++i) {
          const int from = v - i + radius;
          if (from >= 0 && from < size) sum += weights[i] * line[int64_t{from} * step];
        }
      });
    }
    y[t.block() * row + e] = sum;
  }
}

}  // namespace firn::kernels

using namespace firn::kernels;
FIRN_KERNEL(MixChannels<float>);
FIRN_KERNEL(MixChannels<double>);
FIRN_KERNEL(ShiftPixels<float>);
FIRN_KERNEL(ShiftPixels<double>);
FIRN_KERNEL(CutOut<float>);
FIRN_KERNEL(CutOut<double>);
FIRN_KERNEL(FilterReflected<float>);
FIRN_KERNEL(FilterReflected<double>);
