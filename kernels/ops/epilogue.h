// What follows a convolution: y = act(d z + strength noise + b), act(t) = clamp(gain lrelu(t)), and the gradient of
// act. Every kernel that ends with it takes this one; those that go by channels and pixels take it in pieces.
#pragma once
#include <cmath>

#include "kernels/core/types.h"

namespace firn::kernels {

// z, y [N,P,C]. What is null drops out of the formula. A: float or double; void: of a type that is said elsewhere.
template <class A = void>
struct Epilogue {
  using Number = std::conditional_t<std::is_void_v<A>, double, A>;
  const A* d = nullptr;         // [N,C]
  const A* noise = nullptr;     // [noise_images,P], one image for all samples or one for each
  const A* strength = nullptr;  // one number, with noise
  const A* b = nullptr;         // [C]
  int64_t noise_images = 1;
  Number slope = 1, gain = 1, clamp = -1;  // slope 1 is the linear activation; clamp < 0 means none
  const void* addend = nullptr;            // [N,P,C] of y's type, to be added to what is rounded; not all take one

  template <class B>
  Epilogue<B> as() const {
    const auto numbers = [](const void* p) { return static_cast<const B*>(p); };
    return {numbers(d), numbers(noise), numbers(strength), numbers(b), noise_images,
            B(slope),   B(gain),        B(clamp),          addend};
  }
  bool is_linear() const { return slope == 1 && clamp < 0; }

  FIRN_DEVICE Number operator()(Number z, Number d, Number b, Number nu) const { return act(z * d + b + nu); }
  FIRN_DEVICE Number act(Number t) const {
    const Number u = gain * (t > 0 ? t : slope * t), limit = clamp < 0 ? Number(INFINITY) : clamp;
    return u > limit ? limit : u < -limit ? -limit : u;  // NaN stays: a comparison with it is false
  }
  // strength noise of pixel i of sample n, of P pixels a sample
  FIRN_DEVICE Number noise_at(int64_t n, int64_t P, int64_t i) const {
    return noise ? *strength * noise[(noise_images > 1 ? n * P : 0) + i] : Number(0);
  }

  // d act(t) / dt within the clamp, read off y, whose sign is that of t.
  FIRN_DEVICE Number slope_at(Number y) const { return y > 0 ? gain : gain * slope; }
  // Whether y, as it was stored, is clamped.
  template <class T>
  FIRN_DEVICE bool clamps(T y) const {
    const Number limit = clamp < 0 ? Number(INFINITY) : Number(T(clamp));
    return Number(y) >= limit || Number(y) <= -limit;
  }
  // The gradient of t from gy: what is clamped passes nothing.
  template <class T>
  FIRN_DEVICE Number gradient(Number gy, T y) const {
    return clamps(y) ? Number(0) : gy * slope_at(Number(y));
  }
};

struct NoEpilogue {};

}  // namespace firn::kernels
