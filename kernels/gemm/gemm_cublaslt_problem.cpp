#include "kernels/gemm/gemm_cublaslt_problem.h"

#include "kernels/core/cuda_check.h"

namespace firn {

void check(cublasStatus_t status, std::source_location at) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  check_alive(at);
  const std::string message = fmt::format("cuBLASLt: {}", cublasLtGetStatusString(status));
  if (status == CUBLAS_STATUS_ALLOC_FAILED) throw OutOfMemory(message, at);
  throw DeviceError(message, at);
}

}  // namespace firn

namespace firn::kernels::cublaslt {

namespace {

cudaDataType_t data_type(DType t) { return t == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

// A row-major matrix of this shape, read by columns: its rows become columns.
std::shared_ptr<cublasLtMatrixLayoutOpaque_t> layout(DType type, int64_t rows, int64_t columns, int64_t batch,
                                                     bool shared) {
  cublasLtMatrixLayout_t raw = nullptr;
  check(cublasLtMatrixLayoutCreate(&raw, data_type(type), static_cast<uint64_t>(columns), static_cast<uint64_t>(rows),
                                   columns));
  std::shared_ptr<cublasLtMatrixLayoutOpaque_t> result(raw, cublasLtMatrixLayoutDestroy);
  const auto count = static_cast<int32_t>(batch);
  const int64_t stride = shared ? 0 : rows * columns;
  check(cublasLtMatrixLayoutSetAttribute(raw, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count));
  check(cublasLtMatrixLayoutSetAttribute(raw, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride));
  return result;
}

}  // namespace

Problem::Problem(const GemmProblem& p, bool tf32, uint32_t alignment) {
  const bool rounds = p.type == DType::f32 && tf32;
  cublasLtMatmulDesc_t product = nullptr;
  check(cublasLtMatmulDescCreate(&product, rounds ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F));
  product_.reset(product, cublasLtMatmulDescDestroy);
  const cublasOperation_t first = p.trans_b ? CUBLAS_OP_T : CUBLAS_OP_N, second = p.trans_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  check(cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first));
  check(cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second));

  a_ = layout(p.type, p.trans_a ? p.K : p.M, p.trans_a ? p.M : p.K, p.batch, p.share_a);
  b_ = layout(p.type, p.trans_b ? p.N : p.K, p.trans_b ? p.K : p.N, p.batch, p.share_b);
  y_ = layout(p.y_type, p.M, p.N, p.batch, false);

  cublasLtMatmulPreference_t preference = nullptr;
  check(cublasLtMatmulPreferenceCreate(&preference));
  preference_.reset(preference, cublasLtMatmulPreferenceDestroy);
  const size_t most = kWorkspaceBound;
  // Partial sums are added in f32: in place they would be rounded to the type of y each time.
  const uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most));
  check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                             sizeof reductions));
  for (const auto operand : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                             CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
    check(cublasLtMatmulPreferenceSetAttribute(preference, operand, &alignment, sizeof alignment));
}

}  // namespace firn::kernels::cublaslt
