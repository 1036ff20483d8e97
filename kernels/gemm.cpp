// Which provider runs a matrix product.
#include "kernels/gemm.h"

#include <algorithm>

#include "kernels/elementwise.h"
#include "kernels/gemm_cublaslt.h"
#include "kernels/gemm_onednn.h"
#include "kernels/memory.h"
#include "kernels/provider_numerics.h"
#include "kernels/reduce.h"

namespace firn::kernels {

namespace {

constexpr int64_t kThin = 4;

template <class T, class Y>
void typed_gemm(const Stream& stream, const GemmProblem& p, Y* y, const T* a, const T* b) {
  using A = acc_t<T>;
  const A alpha = static_cast<A>(p.alpha);
  if (!p.trans_a && p.N <= kThin && (!p.share_a || p.batch == 1)) {
    const int64_t matrices = p.share_b ? 1 : p.batch;
    const size_t bytes = sizeof(T) * static_cast<size_t>(matrices * p.N * p.K);
    T* columns = p.trans_b ? nullptr : static_cast<T*>(allocate(stream, bytes));  // b with each column contiguous
    if (columns)
      run(stream, StridedCopy<T>{columns, b, 3, {matrices, p.N, p.K}, {p.N * p.K, p.K, 1}, {p.N * p.K, 1, p.N}});
    run(stream, ThinReduce<T, Y>{y, a, columns ? columns : b, p.batch, p.M, p.K, p.N, p.share_b, alpha});
    if (columns) release(stream, columns, bytes);
    return;
  }
  if (!p.trans_a && p.K <= kThin && (!p.share_a || p.batch == 1))
    return run(stream, ThinExpand<T, Y>{y, a, b, p.batch, p.M, p.N, p.K, p.share_b, p.trans_b, alpha});
  if constexpr (std::is_same_v<Y, A>) {
    if (p.trans_a && std::min(p.M, p.N) <= kThin && (p.batch == 1 || (!p.share_a && !p.share_b))) {
      const bool swap = p.M > kThin;  // the thin side is b's
      const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(64 / p.batch, p.K / 64));
      const size_t bytes = sizeof(A) * static_cast<size_t>(p.batch * parts * p.M * p.N);
      A* partial = parts == 1 ? y : static_cast<A*>(allocate(stream, bytes));
      run(stream, ThinOuter<T>{partial, swap ? b : a, swap ? a : b, p.batch, p.K, swap ? p.M : p.N, swap ? p.N : p.M,
                               parts, swap, alpha});
      if (parts > 1) {
        run(stream, SumMiddle<A>{y, partial, p.batch, parts, p.M * p.N, 1});
        release(stream, partial, bytes);
      }
      return;
    }
  }
  if (!stream.is_cuda && p.type != DType::f64) return onednn::gemm(p, y, a, b);
  if constexpr (kCudaBuild)
    if (stream.is_cuda && p.type != DType::f64 && numerics().libraries && p.batch * p.M * p.N * p.K > 0 &&
        cublaslt::gemm(stream, p, y, a, b))
      return;
  run(stream, Gemm<T, Y>{y, a, b, p});
}

}  // namespace

void gemm(const Stream& stream, const GemmProblem& p, void* y, const void* a, const void* b) {
  note_launch("gemm");
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
