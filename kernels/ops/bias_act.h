// Everything that follows a convolution, in one pass: demodulation, noise, bias, activation, gain, clamp.
#pragma once
#include "kernels/core/run.h"

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
  FIRN_DEVICE int rows_per_block() const { return 1 + 8192 / int(C); }
  FIRN_DEVICE int64_t blocks() const { return N * ((P + rows_per_block() - 1) / rows_per_block()); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// The same for what another kernel has just computed, before it stores it; that kernel may do without some operands.
template <class T>
struct ThenBiasAct {
  const acc_t<T>*d, *noise, *strength, *b;
  int64_t noise_images;
  acc_t<T> slope, gain, clamp;
  FIRN_DEVICE acc_t<T> act(acc_t<T> t) const {
    const acc_t<T> u = gain * (t > 0 ? t : slope * t);
    return clamp < 0 ? u : u > clamp ? clamp : u < -clamp ? -clamp : u;  // NaN stays: a comparison with it is false
  }
};
struct ThenNothing {};

// gt = gy gain lrelu'(t), read off y: the sign of y is that of t, and |y| >= clamp passes nothing.
template <class T>
struct BiasActGrad {
  static constexpr const char* name = "bias_act_grad";
  T* gt;
  const T* gy;
  const T* y;
  int64_t count;
  acc_t<T> slope, gain, clamp;
  static constexpr int64_t chunk = 4096;
  FIRN_DEVICE int64_t blocks() const { return (count + chunk - 1) / chunk; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// The whole first-order backward in one pass. With gt as in BiasActGrad, of gy + scale scaled: gx = d gt, and for each
// block of rows the sums of gt, gt x, gt noise and scaled y, which a second launch adds up. Where x is null it is
// recovered from y: x = (t - strength noise - b) / d with gt t = gy y, which no clamped y enters because its gt is 0.
template <class T>
struct BiasActBackward {
  static constexpr const char* name = "bias_act_backward";
  T* gx;
  const T* gy;            // may be null where `scaled` is not
  const T* scaled;        // [N,P,C] or null: more gradient of y, to be multiplied by scale [N,C], as a styled layer
  const acc_t<T>* scale;  // that takes y passes it on
  const T* y;
  const T* x;
  const acc_t<T>* d;         // [N,C] or null
  const acc_t<T>* noise;     // [noise_images,P] or null
  const acc_t<T>* strength;  // as in BiasAct, where x is null
  const acc_t<T>* b;
  // Those that are not wanted are null.
  acc_t<T>* sums;         // [blocks,C] of gt
  acc_t<T>* dots;         // [blocks,C] of gt x
  acc_t<T>* scaled_dots;  // [blocks,C] of scaled y
  acc_t<T>* noise_dots;   // [blocks] of gt noise
  int64_t N, P, C, noise_images;
  acc_t<T> slope, gain, clamp;
  FIRN_DEVICE int rows_per_block() const { return 1 + 16384 / int(C); }
  FIRN_DEVICE int blocks_per_image() const { return (int(P) + rows_per_block() - 1) / rows_per_block(); }
  FIRN_DEVICE int64_t blocks() const { return N * blocks_per_image(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
