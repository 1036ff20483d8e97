// What cuBLASLt is told about types and precision. tests/providers carries out the rest of what it is told.
#include <gtest/gtest.h>

#include "kernels/gemm/gemm_cublaslt_problem.h"

namespace firn::kernels::cublaslt {
namespace {

template <class T>
T get(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t name) {
  T value{};
  size_t written = 0;
  check(cublasLtMatrixLayoutGetAttribute(layout, name, &value, sizeof value, &written));
  return value;
}

template <class T>
T get(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t name) {
  T value{};
  size_t written = 0;
  check(cublasLtMatmulDescGetAttribute(product, name, &value, sizeof value, &written));
  return value;
}

TEST(CublasLt, TypesSumsAndRoundingAreThoseOfTheSwitches) {
  const GemmProblem half{.batch = 1,
                         .M = 8,
                         .N = 8,
                         .K = 8,
                         .trans_a = false,
                         .trans_b = true,
                         .share_a = false,
                         .share_b = false,
                         .alpha = 1,
                         .type = DType::bf16,
                         .y_type = DType::f32};
  GemmProblem single = half;
  single.type = DType::f32;
  const auto compute = [](const Problem& p) {
    return get<cublasComputeType_t>(p.product(), CUBLASLT_MATMUL_DESC_COMPUTE_TYPE);
  };
  const Problem mixed(half, true);
  EXPECT_EQ(get<cudaDataType_t>(mixed.a(), CUBLASLT_MATRIX_LAYOUT_TYPE), CUDA_R_16BF);
  EXPECT_EQ(get<cudaDataType_t>(mixed.y(), CUBLASLT_MATRIX_LAYOUT_TYPE), CUDA_R_32F);
  EXPECT_EQ(compute(mixed), CUBLAS_COMPUTE_32F);
  EXPECT_EQ(compute(Problem(single, false)), CUBLAS_COMPUTE_32F);
  EXPECT_EQ(compute(Problem(single, true)), CUBLAS_COMPUTE_32F_FAST_TF32);
  uint32_t reductions = 0;
  size_t written = 0;
  check(cublasLtMatmulPreferenceGetAttribute(mixed.preference(), CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                             &reductions, sizeof reductions, &written));
  EXPECT_EQ(reductions & CUBLASLT_REDUCTION_SCHEME_INPLACE, 0u);
}

}  // namespace
}  // namespace firn::kernels::cublaslt
