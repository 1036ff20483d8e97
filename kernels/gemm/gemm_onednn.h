// Matrix products through oneDNN, for f32 and bf16 on the CPU.
#pragma once
#include "kernels/gemm/gemm.h"

namespace firn::kernels::onednn {

void gemm(const GemmProblem&, void* y, const void* a, const void* b);

}  // namespace firn::kernels::onednn
