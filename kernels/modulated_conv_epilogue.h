// What follows the sums of a modulated convolution, two neighbouring outputs at a time.
#pragma once
#ifdef __CUDACC__
#include "kernels/mma.h"
#include "kernels/modulated_conv.h"

namespace firn::kernels {

class PixelEpilogue {
 public:
  // Pixel q of sample n.
  __device__ PixelEpilogue(const ModulatedConvProblem& p, const ModulatedConvOperands& a, int n, int q)
      : p_(p),
        d_(a.d ? a.d + int64_t(n) * p.O : nullptr),
        b_(a.b),
        nu_(a.noise ? *a.strength * a.noise[(p.noise_images > 1 ? n * int(p.H * p.W) : 0) + q] : 0) {}

  // y of outputs o and o + 1.
  __device__ uint32_t operator()(float z0, float z1, int o) const {
    const float2 d = d_ ? *reinterpret_cast<const float2*>(d_ + o) : float2{1, 1};
    const float2 b = b_ ? *reinterpret_cast<const float2*>(b_ + o) : float2{0, 0};
    return mma::round_pair(act(z0 * d.x + b.x + nu_), act(z1 * d.y + b.y + nu_));
  }

 private:
  __device__ float act(float t) const {
    const float u = p_.gain * (t > 0 ? t : p_.slope * t), limit = p_.clamp < 0 ? INFINITY : p_.clamp;
    return u > limit ? limit : u < -limit ? -limit : u;  // NaN stays: a comparison with it is false
  }

  const ModulatedConvProblem& p_;
  const float *d_, *b_;
  float nu_;
};

}  // namespace firn::kernels
#endif
