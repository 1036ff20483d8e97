// Matrix products. Providers: oneDNN (CPU; f32 and bf16), cuBLASLt (CUDA; f32 and bf16), thin kernels where one side
// has at most four columns (toRGB and fromRGB, which libraries do badly), the reference kernel otherwise.
#pragma once
#include "kernels/core/run.h"
#include "kernels/ops/epilogue.h"

namespace firn::kernels {

// y = alpha op(a) op(b) for each of `batch` matrices: y [M,N], op(a) [M,K], op(b) [K,N], row-major. A batch stride of 0
// shares one matrix. a and b are of one type; y is of that type or of its acc_type.
struct GemmProblem {
  int64_t batch, M, N, K;
  bool trans_a, trans_b;
  bool share_a, share_b;
  double alpha;
  DType type, y_type;
};

inline constexpr int64_t kThin = 4;  // columns, at most, for the thin kernels

void gemm(const Stream&, const GemmProblem&, void* y, const void* a, const void* b);

// The definition: a block computes one row of y.
template <class T, class Y>
struct Gemm {
  static constexpr const char* name = "gemm_reference";
  Y* y;
  const T* a;
  const T* b;
  GemmProblem p;
  FIRN_DEVICE int64_t blocks() const { return p.batch * p.M; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// Few outputs a pixel (toRGB): y[n,i,o] = alpha sum over c of x[n,i,c] w[n,o,c], o < O <= 4.
template <class T, class Y>
struct ThinReduce {
  static constexpr const char* name = "thin_reduce";
  Y* y;
  const T* x;
  const T* w;
  int64_t batch, P, C, O;
  bool share_w;
  acc_t<T> alpha;
  static constexpr int64_t rows = 256;
  FIRN_DEVICE int64_t blocks() const { return batch * ((P + rows - 1) / rows); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// Few inputs a pixel (fromRGB, and the input gradient of toRGB): y[n,i,c] = alpha sum over o of x[n,i,o] w[n](o,c).
// w is [O,C], or [C,O] with w_transposed. b and an activation may follow.
template <class T, class Y, class Then = NoEpilogue>
struct ThinExpand {
  static constexpr const char* name = std::is_same_v<Then, NoEpilogue> ? "thin_expand" : "thin_expand_bias_act";
  Y* y;
  const T* x;
  const T* w;
  int64_t batch, P, C, O;
  bool share_w, w_transposed;
  acc_t<T> alpha;
  Then then = {};
  static constexpr int64_t rows = 256;
  FIRN_DEVICE int64_t blocks() const { return batch * ((P + rows - 1) / rows); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// Their weight gradients: y[n,p,o,c] = alpha sum over the pixels i of part p of a[n,i,o] b[n,i,c]; the parts are then
// added. transposed: y[n,p,c,o].
template <class T>
struct ThinOuter {
  static constexpr const char* name = "thin_outer";
  acc_t<T>* y;
  const T* a;
  const T* b;
  int64_t batch, P, C, O, parts;
  bool transposed;
  acc_t<T> alpha;
  FIRN_DEVICE int64_t blocks() const { return batch * parts; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
