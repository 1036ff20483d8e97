// How tensor cores add 16 products of bf16 to a float. They line all up with the largest, keep a few bits below a
// float's 24, and cut off the rest, there and in the result (Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of
// NVIDIA tensor cores"; Khattak and Mikaitis, "Accurate models of NVIDIA tensor cores").
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/core/types.h"

namespace firn::ptx {

struct Unit {
  int terms;       // so many products at once
  int extra_bits;  // below those of a float
};
inline constexpr Unit kMma{8, 1};     // as an A100; an H100 is more exact
inline constexpr Unit kWgmma{16, 2};  // an H100

struct Factor {
  float value = 0;
  int exponent = kZero;
  static constexpr int kZero = -10000, kNotFinite = 128;
  Factor() = default;
  Factor(bf16 v) : value(float(v)), exponent(exponent_of(value)) {}
  static int exponent_of(float v) {
    const int biased = static_cast<int>(std::bit_cast<uint32_t>(v) >> 23 & 255);
    return v == 0 ? kZero : std::max(biased, 1) - 127;
  }
};

inline float cut(double v) {
  const float f = static_cast<float>(v);
  return std::fabs(f) > std::fabs(v) ? std::nextafter(f, 0.0f) : f;
}

// sum + x[0] y[0] + ... + x[15] y[15]
template <Unit unit>
float add_products(float sum, const Factor* x, const Factor* y) {
  for (int first = 0; first < 16; first += unit.terms, x += unit.terms, y += unit.terms) {
    int top = Factor::exponent_of(sum), largest = top;
    for (int k = 0; k < unit.terms; ++k) {
      top = std::max(top, x[k].exponent + y[k].exponent);
      largest = std::max({largest, x[k].exponent, y[k].exponent});
    }
    if (largest >= Factor::kNotFinite) {
      for (int k = 0; k < unit.terms; ++k) sum += x[k].value * y[k].value;
      continue;
    }
    if (top <= Factor::kZero / 2) continue;  // all are zero
    const double last_bit = std::bit_cast<double>(uint64_t(top - 23 - unit.extra_bits + 1023) << 52);
    const double scale = 1 / last_bit;
    int64_t kept = static_cast<int64_t>(sum * scale);
    for (int k = 0; k < unit.terms; ++k) kept += static_cast<int64_t>(double(x[k].value) * y[k].value * scale);
    sum = cut(static_cast<double>(kept) * last_bit);
  }
  return sum;
}

}  // namespace firn::ptx
