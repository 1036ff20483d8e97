// Matrix products on CUDA through cuBLASLt, f32 and bf16. Which algorithm runs is measured once a shape.
#pragma once
#include "kernels/gemm/gemm.h"

namespace firn::kernels::cublaslt {

// As kernels::gemm; false, and nothing done, where cuBLASLt has no algorithm.
bool gemm(const Stream&, const GemmProblem&, void* y, const void* a, const void* b);

}  // namespace firn::kernels::cublaslt
