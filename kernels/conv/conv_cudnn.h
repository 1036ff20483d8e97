// Convolution on CUDA through cuDNN, f32 and bf16. Which of cuDNN's plans runs is measured once a shape.
#pragma once
#include <functional>

#include "kernels/conv/conv.h"

namespace firn::kernels::cudnn {

std::string description(const Stream&);  // of its GPU, for plans that are made without one

// As in kernels/conv/conv.h; false, and nothing done, where cuDNN has no acceptable plan.
bool conv_forward(const Stream&, const ConvProblem&, void* small, const void* big, const void* w, WeightCache&);
bool conv_backward_data(const Stream&, const ConvProblem&, void* big, const void* small, const void* w, WeightCache&);
bool conv_backward_weights(const Stream&, const ConvProblem&, void* dw, const void* big, const void* small);

// In one fused kernel or by `in_two_passes`, whichever is faster; in bf16, a kernel that does not give what the two
// passes give is left out. Without d and noise.
void conv_bias_act(const Stream&, const ConvProblem&, const Epilogue<>&, void* small, const void* big, const void* w,
                   WeightCache&, const std::function<void()>& in_two_passes);

}  // namespace firn::kernels::cudnn
