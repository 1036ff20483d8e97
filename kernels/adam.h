// The optimiser: one launch over every parameter.
#pragma once
#include "kernels/run.h"

namespace firn::kernels {

// One parameter tensor of `count` numbers, cut into blocks that start at first_block.
template <class T>
struct AdamTensor {
  T* p;
  const T* g;
  T* m;
  T* v;
  int64_t count, first_block;
};

// g <- 0 where NaN, +-1e5 where infinite (and counted); m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g^2;
// p <- p - lr (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)            (Kingma & Ba 2015; repair as in Karras et al.
// 2020)
template <class T>
struct Adam {
  static constexpr const char* name = "adam";
  const AdamTensor<T>* tensors;
  int64_t* repaired;  // one count a block
  int tensor_count;
  int64_t block_count;
  T lr, beta1, beta2, eps, correction1, correction2;  // correction = 1 - beta^t
  static constexpr int64_t chunk = 32768;
  FIRN_DEVICE int64_t blocks() const { return block_count; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

template <class T>
struct LerpTensor {
  T* y;
  const T* x;
  int64_t count, first_block;
};

// y <- x + beta (y - x), over many tensors: the moving average of weights.
template <class T>
struct Lerp {
  static constexpr const char* name = "lerp";
  const LerpTensor<T>* tensors;
  int tensor_count;
  int64_t block_count;
  T beta;
  static constexpr int64_t chunk = 32768;
  FIRN_DEVICE int64_t blocks() const { return block_count; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
