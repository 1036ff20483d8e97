// What follows the sums of a modulated convolution, two neighbouring outputs at a time.
#pragma once
#ifdef __CUDACC__
#include "kernels/mma.h"
#include "kernels/modulated_conv.h"

namespace firn::kernels {

class PixelEpilogue {
 public:
  // Of pixel q of sample n.
  __device__ PixelEpilogue(const ModulatedConvProblem& p, const ModulatedConvOperands& a, int n, int q)
      : p_(p), nu_(a.noise ? *a.strength * a.noise[(p.noise_images > 1 ? n * int(p.H * p.W) : 0) + q] : 0) {}

  // y from the sums, d and b of both outputs.
  __device__ uint32_t operator()(float z0, float z1, float2 d, float2 b) const {
    return mma::round_pair(act(z0 * d.x + b.x + nu_), act(z1 * d.y + b.y + nu_));
  }

 private:
  __device__ float act(float t) const {
    const float u = p_.gain * (t > 0 ? t : p_.slope * t), limit = p_.clamp < 0 ? INFINITY : p_.clamp;
    return u > limit ? limit : u < -limit ? -limit : u;  // NaN stays: a comparison with it is false
  }

  const ModulatedConvProblem& p_;
  float nu_;
};

}  // namespace firn::kernels
#endif
