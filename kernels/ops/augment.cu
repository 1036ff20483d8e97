#include "kernels/ops/augment.h"

#include <cmath>

#include "kernels/core/team.h"
#include "kernels/ops/random.h"

namespace firn::kernels {

namespace {

constexpr float kStep = 1.0f / 16777216.0f;  // of 24 bits

FIRN_DEVICE inline float normal_of(const uint32_t* r) {
  const float u = (float(r[0] >> 8) + 1.0f) * kStep;  // in (0,1]
  return std::sqrt(-2.0f * std::log(u)) * std::cos(float(r[1] >> 8) * (6.28318530718f * kStep));
}

// A product of 3x3 or 4x4 matrices whose last row stays (0, .., 1).
template <class T, int rows>
struct Affine {
  T m[rows][rows + 1];
  FIRN_DEVICE Affine() {
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j <= rows; ++j) m[i][j] = T(i == j);
  }
  FIRN_DEVICE Affine times(const Affine& b) const {
    Affine r;
    for (int i = 0; i < rows; ++i)
      for (int j = 0; j <= rows; ++j) {
        r.m[i][j] = j == rows ? m[i][rows] : T(0);
        for (int k = 0; k < rows; ++k) r.m[i][j] += m[i][k] * b.m[k][j];
      }
    return r;
  }
};

template <class T>
FIRN_DEVICE Affine<T, 2> scaled(T x, T y) {
  Affine<T, 2> r;
  r.m[0][0] = x;
  r.m[1][1] = y;
  return r;
}

template <class T>
FIRN_DEVICE Affine<T, 2> moved(T x, T y) {
  Affine<T, 2> r;
  r.m[0][2] = x;
  r.m[1][2] = y;
  return r;
}

// An angle of at most a few turns: a GPU need not be ready for any.
template <class T>
struct Direction {
  T cosine, sine;
  FIRN_DEVICE explicit Direction(T angle) {
#ifdef __CUDA_ARCH__
    sincospi(angle * T(0.31830988618379067154), &sine, &cosine);
#else
    cosine = std::cos(angle);
    sine = std::sin(angle);
#endif
  }
};

template <class T>
FIRN_DEVICE Affine<T, 2> turned(T angle) {
  const Direction<T> to(angle);
  Affine<T, 2> r;
  r.m[0][0] = r.m[1][1] = to.cosine;
  r.m[1][0] = to.sine;
  r.m[0][1] = -r.m[1][0];
  return r;
}

// along v v^T + across (I - v v^T), v the grey axis.
template <class T>
FIRN_DEVICE Affine<T, 3> grey_axis(T along, T across) {
  Affine<T, 3> r;
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) r.m[i][j] = (along - across) / 3 + (i == j ? across : T(0));
  return r;
}

// A rotation about the grey axis, by Rodrigues.
template <class T>
FIRN_DEVICE Affine<T, 3> turned_hue(T angle) {
  const Direction<T> to(angle);
  const T c = to.cosine, s = to.sine * T(0.57735026918962576451);
  Affine<T, 3> r = grey_axis<T>(1, c);
  for (int i = 0; i < 3; ++i) {
    r.m[i][(i + 2) % 3] += s;
    r.m[i][(i + 1) % 3] -= s;
  }
  return r;
}

}  // namespace

template <class T>
template <class Team>
FIRN_DEVICE void DrawNumbers<T>::operator()(Team t) const {
  const int64_t first = t.block() * chunk, last = first + chunk < N ? first + chunk : N;
  const uint64_t draw = origin ? *origin + offset : offset;
  const float probability = float(*p);
  for (int64_t e = first * count + t.rank(); e < last * count; e += t.size()) {
    const uint64_t n = uint64_t(e / count);
    const int k = int(e - int64_t(n) * count);
    const DrawnNumber& number = numbers[k];
    uint32_t r[4];
    bool open = number.gate < 0;
    if (!open) {
      philox(seed, draw, n * 2 * most + most + uint64_t(number.gate), r);
      float limit = number.share * probability;
      if (number.of_two) limit = 1 - std::sqrt(limit < 1 ? 1 - limit : 0.0f);
      open = float(r[0] >> 8) * kStep < limit;
    }
    philox(seed, draw, n * 2 * most + uint64_t(k), r);
    const T a = T(number.a), range = T(number.b) - a, u = T(float(r[0] >> 8) * kStep);
    T value = a;
    switch (number.law) {
      case Law::uniform:
        value += range * u;
        break;
      case Law::whole: {
        const T whole = std::floor(range * u);
        value += whole < range - 1 ? whole : range - 1;
        break;
      }
      case Law::rounded:
        value = std::rint(a + range * u);
        break;
      case Law::normal:
        value *= T(normal_of(r));
        break;
      case Law::power:
        value = T(std::exp2(number.a * normal_of(r)));
        break;
      case Law::half_normal: {
        const T v = a * T(normal_of(r));
        value = v < 0 ? -v : v;
        break;
      }
    }
    values[e] = open ? value : T(number.otherwise);
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void AdaMatrices<T>::operator()(Team t) const {
  const int64_t first = t.block() * chunk, last = first + chunk < N ? first + chunk : N;
  constexpr T quarter = T(1.57079632679489661923);
  for (int64_t n = first + t.rank(); n < last; n += t.size()) {
    const T* v = values + n * ada::numbers;
    if (geometry) {
      const Affine<T, 2> g = scaled(1 - 2 * v[ada::xflip], T(1))
                                 .times(turned(v[ada::rotate90] * quarter))
                                 .times(moved(-v[ada::xint_x], -v[ada::xint_y]))
                                 .times(scaled(1 / v[ada::scale], 1 / v[ada::scale]))
                                 .times(turned(v[ada::rotate_before]))
                                 .times(scaled(1 / v[ada::aniso], v[ada::aniso]))
                                 .times(turned(v[ada::rotate_behind]))
                                 .times(moved(-v[ada::xfrac_x], -v[ada::xfrac_y]));
      for (int i = 0; i < 6; ++i) geometry[6 * n + i] = g.m[i / 3][i % 3];
    }
    if (colour) {
      Affine<T, 3> c;
      for (int i = 0; i < 3; ++i) {
        c.m[i][i] = v[ada::contrast];
        c.m[i][3] = v[ada::contrast] * v[ada::brightness];
      }
      c = grey_axis<T>(1 - 2 * v[ada::lumaflip], 1).times(c);
      if (channels > 1) c = grey_axis<T>(1, v[ada::saturation]).times(turned_hue(v[ada::hue])).times(c);
      T* out = colour + n * channels * (channels + 1);
      if (channels == 1) {  // the mean of what the rows make of three equal channels
        T slope = 0, shift = 0;
        for (int i = 0; i < 3; ++i) {
          slope += (c.m[i][0] + c.m[i][1] + c.m[i][2]) / 3;
          shift += c.m[i][3] / 3;
        }
        out[0] = slope;
        out[1] = shift;
      } else {
        for (int i = 0; i < channels; ++i)
          for (int j = 0; j <= channels; ++j)
            out[i * (channels + 1) + j] = i == 3 || (j == 3 && channels == 4) ? T(i == j) : c.m[i][j < 3 ? j : 3];
      }
    }
    if (filter)
      for (int k = 0; k < taps; ++k) {
        T sum = 0;
        for (int b = 0; b < bands; ++b) {
          // A band's gain t is drawn for it alone; all are then divided so that expected power stays, and multiplied.
          T gain = 1;
          for (int i = 0; i < bands; ++i) {
            const T drawn = v[ada::band_gains + i], share = (i == 0 ? T(10) : T(1)) / 13;
            const T norm = std::sqrt(share * drawn * drawn + (1 - share));
            gain *= (i == b ? drawn : T(1)) / norm;
          }
          sum += gain * bank[b][k];
        }
        filter[n * taps + k] = sum;
      }
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void AddSigns<T>::operator()(Team t) const {
  T sum = 0, number = 0;
  for (int64_t i = t.rank(); i < count; i += t.size()) {
    const T v = logits[i];
    sum += T(v > 0) - T(v < 0);
    number += T(v == v);
  }
  sum = t.sum(sum);
  number = t.sum(number);
  if (t.rank() != 0) return;
  sums[0] += sum;
  sums[1] += number;
}

template <class T>
template <class Team>
FIRN_DEVICE void AdaptProbability<T>::operator()(Team t) const {
  if (t.rank() != 0 || !(sums[1] > 0)) return;
  const T excess = sums[0] / sums[1] - target, next = p[0] + step * (T(excess > 0) - T(excess < 0));
  p[0] = next > 0 ? next : T(0);
  sums[0] = sums[1] = 0;
}

}  // namespace firn::kernels

using namespace firn::kernels;
FIRN_KERNEL(DrawNumbers<float>);
FIRN_KERNEL(DrawNumbers<double>);
FIRN_KERNEL(AdaMatrices<float>);
FIRN_KERNEL(AdaMatrices<double>);
FIRN_KERNEL(AddSigns<float>);
FIRN_KERNEL(AddSigns<double>);
FIRN_KERNEL(AdaptProbability<float>);
FIRN_KERNEL(AdaptProbability<double>);
