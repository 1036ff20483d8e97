// Products of parts of tensors, whose memory begins anywhere.
#include <gtest/gtest.h>

#include "engine/tensor.h"
#include "kernels/gemm/gemm_cublaslt_problem.h"
#include "tests/providers/stand_in.h"

namespace firn::providers {
namespace {

Tensor filled(double value) { return Tensor::full({128}, value, DType::f32, Device::cuda()); }

// y = a b for 8x8 matrices of ones that begin `offset` elements into their memory.
TEST(Products, OfPartsOfTensorsArePlannedForTheirAlignment) {
  const auto product = [](int64_t offset) {
    const Tensor a = filled(1), b = filled(1);
    Tensor y = filled(0);
    kernels::gemm(y.stream(), {.batch = 1, .M = 8, .N = 8, .K = 8, .alpha = 1}, y.mutable_as<float>() + offset,
                  a.as<float>() + offset, b.as<float>() + offset);
    return y.to_floats().at(size_t(offset + 63));
  };
  for (const int64_t offset : {0, 1, 2, 4, 64, 0}) EXPECT_EQ(product(offset), 8) << offset;
  EXPECT_FALSE(stand_in().products.empty());
}

TEST(Products, PlannedForMoreAlignmentAreRefused) {
  const kernels::GemmProblem p{.batch = 1, .M = 8, .N = 8, .K = 8};
  const Tensor a = filled(1);
  Tensor y = filled(0);
  const auto run = [&](uint32_t alignment) {
    const kernels::cublaslt::Problem problem(p, false, alignment);
    cublasLtMatmulHeuristicResult_t plans[2];
    int count = 0;
    cublasLtMatmulAlgoGetHeuristic(nullptr, problem.product(), problem.b(), problem.a(), problem.y(), problem.y(),
                                   problem.preference(), 2, plans, &count);
    const float one = 1, zero = 0;
    return cublasLtMatmul(nullptr, problem.product(), &one, a.as<float>() + 4, problem.b(), a.data(), problem.a(),
                          &zero, y.mutable_data(), problem.y(), y.mutable_data(), problem.y(), &plans[1].algo, nullptr,
                          0, nullptr);
  };
  EXPECT_EQ(run(16), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(run(32), CUBLAS_STATUS_INVALID_VALUE);
}

}  // namespace
}  // namespace firn::providers
