// Weight gradients in f32 as one matrix product a tap, for the strided and small convolutions that libraries do slowly,
// and for windows of one tap.
#pragma once
#include "kernels/conv/conv.h"

namespace firn::kernels {

bool prefers_gemm_wgrad(const ConvProblem&);
bool is_gemm_wgrad(const ConvProblem&);  // of a 1x1 window
void conv_backward_weights_1x1(const Stream&, const ConvProblem&, void* dw, const void* big, const void* small);
void conv_backward_weights_gemm(const Stream&, const ConvProblem&, float* dw, const float* big, const float* small);

}  // namespace firn::kernels
