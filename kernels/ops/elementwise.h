// Pointwise maps, with broadcasting for two operands, and casts.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

constexpr int kMaxRank = 6;
constexpr int64_t kChunk = 4096;  // elements a block handles; independent of the thread count, so results are too

enum class UnaryOp {
  affine,
  square,
  sqrt,
  rsqrt,
  reciprocal,
  softplus,
  sigmoid,
  tanh,
  exp,
  log,
  sign,
  abs,
  gelu,
  gelu_slope,
  silu,
  silu_slope
};

// y[i] = f(x[i]); affine is y = a x + b. sqrt, rsqrt and log are those of the real function (no clamping). gelu is x
// Phi(x) with the normal distribution's Phi, silu is x sigmoid(a x); the slopes are their derivatives.
template <class T>
struct Unary {
  static constexpr const char* name = "unary";
  T* y;
  const T* x;
  int64_t count;
  UnaryOp op;
  acc_t<T> a = 1, b = 0;
  FIRN_DEVICE int64_t blocks() const { return (count + kChunk - 1) / kChunk; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

enum class BinaryOp { add, sub, mul, div };

// y = f(a, b) over the dims of y; a stride of 0 broadcasts. Dims are outermost first; the caller merges what it can.
template <class T>
struct Binary {
  static constexpr const char* name = "binary";
  T* y;
  const T* a;
  const T* b;
  BinaryOp op;
  int rank;
  int64_t dims[kMaxRank], a_strides[kMaxRank], b_strides[kMaxRank];
  FIRN_DEVICE int64_t chunks() const { return (dims[rank - 1] + kChunk - 1) / kChunk; }
  FIRN_DEVICE int64_t blocks() const {
    int64_t n = chunks();
    for (int d = 0; d + 1 < rank; ++d) n *= dims[d];
    return n;
  }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[i] = x[i] in another type.
template <class To, class From>
struct Cast {
  static constexpr const char* name = "cast";
  To* y;
  const From* x;
  int64_t count;
  FIRN_DEVICE int64_t blocks() const { return (count + kChunk - 1) / kChunk; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[i] = value
template <class T>
struct Fill {
  static constexpr const char* name = "fill";
  T* y;
  int64_t count;
  acc_t<T> value;
  FIRN_DEVICE int64_t blocks() const { return (count + kChunk - 1) / kChunk; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[y_offset + j . y_strides] = x[x_offset + j . x_strides] over dims: permute, slice, embed and expand in one kernel.
template <class T>
struct StridedCopy {
  static constexpr const char* name = "strided_copy";
  T* y;
  const T* x;
  int rank;
  int64_t dims[kMaxRank], y_strides[kMaxRank], x_strides[kMaxRank];
  FIRN_DEVICE int64_t chunks() const { return (dims[rank - 1] + kChunk - 1) / kChunk; }
  FIRN_DEVICE int64_t blocks() const {
    int64_t n = chunks();
    for (int d = 0; d + 1 < rank; ++d) n *= dims[d];
    return n;
  }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
