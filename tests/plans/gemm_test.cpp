// cuBLASLt's descriptors, carried out on the CPU by what they say, against the product that was asked for.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/gemm_cublaslt_problem.h"

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

// A matrix as cuBLASLt reads it: by columns.
struct Matrix {
  int64_t rows, columns, step, batch_step;
  explicit Matrix(cublasLtMatrixLayout_t l)
      : rows(static_cast<int64_t>(get<uint64_t>(l, CUBLASLT_MATRIX_LAYOUT_ROWS))),
        columns(static_cast<int64_t>(get<uint64_t>(l, CUBLASLT_MATRIX_LAYOUT_COLS))),
        step(get<int64_t>(l, CUBLASLT_MATRIX_LAYOUT_LD)),
        batch_step(get<int64_t>(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET)) {}
  int64_t at(int64_t n, int64_t row, int64_t column) const { return n * batch_step + column * step + row; }
};

std::vector<double> carried_out(const Problem& problem, const std::vector<double>& a, const std::vector<double>& b,
                                size_t count) {
  const Matrix first(problem.b()), second(problem.a()), y(problem.y());
  const bool t1 = get<cublasOperation_t>(problem.product(), CUBLASLT_MATMUL_DESC_TRANSA) == CUBLAS_OP_T;
  const bool t2 = get<cublasOperation_t>(problem.product(), CUBLASLT_MATMUL_DESC_TRANSB) == CUBLAS_OP_T;
  const int64_t inner = t1 ? first.rows : first.columns;
  EXPECT_EQ(inner, t2 ? second.columns : second.rows);
  EXPECT_EQ(y.rows, t1 ? first.columns : first.rows);
  EXPECT_EQ(y.columns, t2 ? second.rows : second.columns);
  std::vector<double> result(count, NAN);
  for (int64_t n = 0; n < get<int32_t>(problem.y(), CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT); ++n)
    for (int64_t r = 0; r < y.rows; ++r)
      for (int64_t c = 0; c < y.columns; ++c) {
        double sum = 0;
        for (int64_t k = 0; k < inner; ++k)
          sum += b.at(static_cast<size_t>(t1 ? first.at(n, k, r) : first.at(n, r, k))) *
                 a.at(static_cast<size_t>(t2 ? second.at(n, c, k) : second.at(n, k, c)));
        result.at(static_cast<size_t>(y.at(n, r, c))) = sum;
      }
  return result;
}

TEST(CublasLt, DescriptorsSayTheProductThatWasAskedFor) {
  for (int bits = 0; bits < 16; ++bits) {
    GemmProblem p{.batch = 3,
                  .M = 4,
                  .N = 5,
                  .K = 6,
                  .trans_a = (bits & 1) != 0,
                  .trans_b = (bits & 2) != 0,
                  .share_a = (bits & 4) != 0,
                  .share_b = (bits & 8) != 0,
                  .alpha = 1,
                  .type = DType::f64,
                  .y_type = DType::f64};
    std::vector<double> a(static_cast<size_t>((p.share_a ? 1 : p.batch) * p.M * p.K));
    std::vector<double> b(static_cast<size_t>((p.share_b ? 1 : p.batch) * p.K * p.N));
    for (size_t i = 0; i < a.size(); ++i) a[i] = std::sin(static_cast<double>(i));
    for (size_t i = 0; i < b.size(); ++i) b[i] = std::cos(static_cast<double>(i));
    std::vector<double> expected(static_cast<size_t>(p.batch * p.M * p.N));
    run({}, Gemm<double, double>{expected.data(), a.data(), b.data(), p});
    p.type = p.y_type = DType::f32;
    const std::vector<double> got = carried_out(Problem(p, false), a, b, expected.size());
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-12) << "bits " << bits;
  }
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
