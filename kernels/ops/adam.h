// The optimiser with all that is made from the weights it writes: one launch over every parameter. The table of tensors
// is part of the launch, so that nothing is uploaded and a recorded launch keeps its own.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

constexpr int kTensorsPerLaunch = 384;  // 27 KiB (30 of f64) of the 32 that a launch may carry

// What of an Adam step changes from one to the next, in device memory.
template <class T>
struct AdamRates {
  T lr, correction1, correction2;  // correction = 1 - beta^t
  T average_decay;                 // 1 leaves the averages alone
};

// One parameter tensor of `count` numbers, cut into blocks that start at first_block. `average` and `rounded` may be
// null: the moving average of p, and gain p in bf16 for the tensor cores.
template <class T>
struct AdamTensor {
  T* p;
  const T* g;
  T* m;
  T* v;
  T* average;
  bf16* rounded;
  float gain;
  T lr_share;
  int64_t count, first_block;
};

// g <- 0 where NaN, +-1e5 where infinite (and counted); m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g^2;
// p <- p - lr lr_share (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)            (Kingma & Ba 2015; repair as in Karras et
// al. 2020); average <- p + average_decay (average - p); rounded <- gain p
template <class T>
struct Adam {
  static constexpr const char* name = "adam";
  AdamTensor<T> tensors[kTensorsPerLaunch];
  int tensor_count;
  int64_t block_count;
  const AdamRates<T>* rates;
  int64_t* repaired;  // one count a block, added to
  T beta1, beta2, eps;
  static constexpr int chunk = 2048;  // 8 numbers a thread of a GPU, which keeps their gradients
  FIRN_DEVICE int64_t blocks() const { return block_count; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
  template <int width, class Team>
  FIRN_DEVICE void update(Team t, const AdamTensor<T>& e) const;
};

template <class T>
struct LerpTensor {
  T* y;
  const T* x;
  T beta;
  int64_t count, first_block;
};

// y <- x + beta (y - x) over many tensors; beta 0 copies exactly.
template <class T>
struct Lerp {
  static constexpr const char* name = "lerp";
  LerpTensor<T> tensors[kTensorsPerLaunch];
  int tensor_count;
  int64_t block_count;
  static constexpr int64_t chunk = 32768;
  FIRN_DEVICE int64_t blocks() const { return block_count; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
