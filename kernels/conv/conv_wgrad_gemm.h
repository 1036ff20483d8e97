// Weight gradients in f32 as one matrix product a tap, for the strided and small convolutions that libraries do slowly.
#pragma once
#include "kernels/conv/conv.h"

namespace firn::kernels {

bool prefers_gemm_wgrad(const ConvProblem&);
void conv_backward_weights_gemm(const Stream&, const ConvProblem&, float* dw, const float* big, const float* small);

}  // namespace firn::kernels
