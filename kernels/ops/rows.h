// Rows that are normalised by themselves: layer normalisation (Ba et al. 2016, arXiv 1607.06450) and softmax. A block
// has a row.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

// y = (x - mean) rstd gamma + beta, where mean and rstd = 1 / sqrt(variance + eps) are those of the row. x, y [R,C].
template <class T>
struct LayerNorm {
  static constexpr const char* name = "layer_norm";
  T* y;
  acc_t<T>* moments;  // [R,2]: mean and rstd; or null
  const T* x;
  const acc_t<T>* gamma;  // [C]
  const acc_t<T>* beta;   // [C]
  int64_t R, C;
  acc_t<T> eps;
  FIRN_DEVICE int64_t blocks() const { return R; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// gx = rstd (g - mean of g - xhat mean of g xhat), where g = gamma gy and xhat = (x - mean) rstd.
template <class T>
struct LayerNormGrad {
  static constexpr const char* name = "layer_norm_grad";
  T* gx;
  const T* gy;
  const T* x;
  const acc_t<T>* moments;
  const acc_t<T>* gamma;
  int64_t R, C;
  FIRN_DEVICE int64_t blocks() const { return R; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[c] = e^x[c] / sum of e^x. x, y [R,C].
template <class T>
struct Softmax {
  static constexpr const char* name = "softmax";
  T* y;
  const T* x;
  int64_t R, C;
  FIRN_DEVICE int64_t blocks() const { return R; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// gx = y (gy - sum of gy y)
template <class T>
struct SoftmaxGrad {
  static constexpr const char* name = "softmax_grad";
  T* gx;
  const T* gy;
  const T* y;
  int64_t R, C;
  FIRN_DEVICE int64_t blocks() const { return R; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
