// Which provider runs a matrix product.
#include "kernels/gemm/gemm.h"

#include <algorithm>

#include "kernels/choice/provider_numerics.h"
#include "kernels/core/cpu_target.h"
#include "kernels/device/memory.h"
#include "kernels/gemm/gemm_cublaslt.h"
#include "kernels/gemm/gemm_onednn.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/reduce.h"
#include "kernels/ops/wide.h"

namespace firn::kernels {

namespace {

// Without AMX bf16 only stores (kernels/conv/conv.cpp).
template <class Y>
void gemm_in_f32(const Stream& stream, GemmProblem p, Y* y, const bf16* a, const bf16* b) {
  const auto matrices = [&](bool shared) { return shared ? 1 : p.batch; };
  const Wide wide_a(stream, matrices(p.share_a) * p.M * p.K, a), wide_b(stream, matrices(p.share_b) * p.K * p.N, b);
  const int64_t count = p.batch * p.M * p.N;
  const Wide wide_y(stream, std::is_same_v<Y, bf16> ? count : 0);
  p.type = p.y_type = DType::f32;
  if constexpr (std::is_same_v<Y, bf16>) {
    onednn::gemm(p, wide_y.data(), wide_a.data(), wide_b.data());
    wide_y.round_to(y);
  } else {
    onednn::gemm(p, y, wide_a.data(), wide_b.data());
  }
}

template <class T, class Y>
void typed_gemm(const Stream& stream, const GemmProblem& p, Y* y, const T* a, const T* b) {
  using A = acc_t<T>;
  const A alpha = static_cast<A>(p.alpha);
  if (!p.trans_a && p.N <= kThin && (!p.share_a || p.batch == 1)) {
    const int64_t matrices = p.share_b ? 1 : p.batch;
    // b with each column contiguous
    const Scratch turned(stream, p.trans_b ? 0 : sizeof(T) * static_cast<size_t>(matrices * p.N * p.K));
    T* const columns = static_cast<T*>(turned.data());
    if (columns)
      run(stream, StridedCopy<T>{columns, b, 3, {matrices, p.N, p.K}, {p.N * p.K, p.K, 1}, {p.N * p.K, 1, p.N}});
    return run(stream, ThinReduce<T, Y>{y, a, columns ? columns : b, p.batch, p.M, p.K, p.N, p.share_b, alpha});
  }
  if (!p.trans_a && p.K <= kThin && (!p.share_a || p.batch == 1))
    return run(stream, ThinExpand<T, Y>{y, a, b, p.batch, p.M, p.N, p.K, p.share_b, p.trans_b, alpha});
  if constexpr (std::is_same_v<Y, A>) {
    if (p.trans_a && std::min(p.M, p.N) <= kThin && (p.batch == 1 || (!p.share_a && !p.share_b))) {
      const bool swap = p.M > kThin;  // the thin side is b's
      const int64_t C = swap ? p.M : p.N, O = swap ? p.N : p.M, parts = parts_for(stream, p.batch, p.K, C);
      const Scratch partial(stream, parts == 1 ? 0 : sizeof(A) * static_cast<size_t>(p.batch * parts * C * O));
      A* const sums = parts == 1 ? y : static_cast<A*>(partial.data());
      run(stream, ThinOuter<T>{sums, swap ? b : a, swap ? a : b, p.batch, p.K, C, O, parts, swap, alpha});
      if (parts > 1) add_parts(stream, y, sums, p.batch, parts, C * O);
      return;
    }
  }
  if (!stream.is_cuda && p.type != DType::f64) {
    if constexpr (std::is_same_v<T, bf16>)
      if (!has_amx()) return gemm_in_f32(stream, p, y, a, b);
    return onednn::gemm(p, y, a, b);
  }
  if constexpr (kCudaBuild)
    if (stream.is_cuda && p.type != DType::f64 && numerics(stream).libraries && p.batch * p.M * p.N * p.K > 0 &&
        cublaslt::gemm(stream, p, y, a, b))
      return;
  run(stream, Gemm<T, Y>{y, a, b, p});
}

}  // namespace

void gemm(const Stream& stream, const GemmProblem& p, void* y, const void* a, const void* b) {
  note_launch("gemm");
  note_flops(2.0 * double(p.batch * p.M * p.N * p.K));
  dispatch(p.type, [&](auto tag) {
    using T = decltype(tag);
    const T *ta = static_cast<const T*>(a), *tb = static_cast<const T*>(b);
    if (p.y_type == p.type) {
      typed_gemm<T, T>(stream, p, static_cast<T*>(y), ta, tb);
    } else if constexpr (std::is_same_v<T, bf16>) {
      typed_gemm<bf16, float>(stream, p, static_cast<float*>(y), ta, tb);
    }
  });
}

}  // namespace firn::kernels
