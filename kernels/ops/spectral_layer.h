// What the backward of a spectrally normalised layer y = act(z / sigma + b), z = conv(x, w), needs beside convolutions.
#pragma once
#include "kernels/core/run.h"
#include "kernels/ops/epilogue.h"

namespace firn::kernels {

// gz = gt / sigma, gt = gy act'(t), and of each block's rows the sums of gt, which are the gradient of b, and of gy y,
// which is gt t. gz, gy, y [R,C], sums and dots [blocks,C] or null, dots only
// with sums.
template <class T>
struct SpectralActGrad {
  static constexpr const char* name = "spectral_act_grad";
  T* gz;
  acc_t<T>* sums;
  acc_t<T>* dots;
  const T* gy;
  const T* y;
  const acc_t<T>* sigma;
  int64_t R, C;
  Epilogue<acc_t<T>> of;  // that clamps nothing
  FIRN_DEVICE int64_t rows_per_block() const { return 1 + 16384 / C; }
  FIRN_DEVICE int64_t blocks() const { return (R + rows_per_block() - 1) / rows_per_block(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[o,r] = x[o,r] + k u[o] v[r]; x may be null, or y.
template <class A>
struct OuterAdd {
  static constexpr const char* name = "outer_add";
  A* y;
  const A* x;
  const A* k;  // one number
  const A* u;
  const A* v;
  int64_t O, R;
  FIRN_DEVICE int64_t rows_per_block() const { return 1 + 8192 / R; }
  FIRN_DEVICE int64_t blocks() const { return (O + rows_per_block() - 1) / rows_per_block(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
