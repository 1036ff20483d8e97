// Everything that follows a convolution, in one pass: demodulation, noise, bias, activation, gain, clamp.
#pragma once
#include "kernels/run.h"

namespace firn::kernels {

// y = clamp(gain lrelu(d[n,c] x + strength noise[n,i] + b[c])); x, y [N,P,C]. d, noise and b may be null.
// slope 1 is the linear activation; clamp < 0 means none. noise has one image per sample, or one for all.
template <class T>
struct BiasAct {
  static constexpr const char* name = "bias_act";
  T* y;
  const T* x;
  const acc_t<T>* d;         // [N,C]
  const acc_t<T>* noise;     // [noise_images,P]
  const acc_t<T>* strength;  // one number
  const acc_t<T>* b;         // [C]
  int64_t N, P, C, noise_images;
  acc_t<T> slope, gain, clamp;
  FIRN_DEVICE int64_t rows_per_block() const { return 1 + 8192 / C; }
  FIRN_DEVICE int64_t blocks() const { return N * ((P + rows_per_block() - 1) / rows_per_block()); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// gt = gy gain lrelu'(t), read off y: the sign of y is that of t, and |y| >= clamp passes nothing.
template <class T>
struct BiasActGrad {
  static constexpr const char* name = "bias_act_grad";
  T* gt;
  const T* gy;
  const T* y;
  int64_t count;
  acc_t<T> slope, gain, clamp;
  static constexpr int64_t chunk = 16384;
  FIRN_DEVICE int64_t blocks() const { return (count + chunk - 1) / chunk; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
