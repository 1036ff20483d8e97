// Matrix products through oneDNN, for f32 and bf16 on the CPU.
#pragma once
#include "kernels/gemm/gemm.h"

namespace firn::kernels::onednn {

bool has_bf16();  // the processor multiplies bf16, at twice the speed of f32 or more

void gemm(const GemmProblem&, void* y, const void* a, const void* b);

}  // namespace firn::kernels::onednn
