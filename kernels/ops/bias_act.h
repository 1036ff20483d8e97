// Everything that follows a convolution, in one pass, and its gradient.
#pragma once
#include "kernels/core/run.h"
#include "kernels/ops/epilogue.h"

namespace firn::kernels {

// y = then(x); x, y [N,P,C].
template <class T>
struct BiasAct {
  static constexpr const char* name = "bias_act";
  T* y;
  const T* x;
  int64_t N, P, C;
  Epilogue<acc_t<T>> then;
  FIRN_DEVICE int rows_per_block() const { return 1 + 8192 / int(C); }
  FIRN_DEVICE int64_t blocks() const { return N * ((P + rows_per_block() - 1) / rows_per_block()); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// gt = gy act'(t), read off y.
template <class T>
struct BiasActGrad {
  static constexpr const char* name = "bias_act_grad";
  T* gt;
  const T* gy;
  const T* y;
  int64_t count;
  Epilogue<acc_t<T>> of;
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
  // Those that are not wanted are null.
  acc_t<T>* sums;         // [blocks,C] of gt
  acc_t<T>* dots;         // [blocks,C] of gt x
  acc_t<T>* scaled_dots;  // [blocks,C] of scaled y
  acc_t<T>* noise_dots;   // [blocks] of gt noise
  int64_t N, P, C;
  Epilogue<acc_t<T>> of;
  FIRN_DEVICE int rows_per_block() const { return 1 + 16384 / int(C); }
  FIRN_DEVICE int blocks_per_image() const { return (int(P) + rows_per_block() - 1) / rows_per_block(); }
  FIRN_DEVICE int64_t blocks() const { return N * blocks_per_image(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
