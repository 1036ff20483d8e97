// Convolution through oneDNN, for f32 and bf16 on the CPU. Same meaning as the functions of conv.h.
#pragma once
#include "kernels/conv/conv.h"

namespace firn::kernels::onednn {

void conv_forward(const ConvProblem&, void* small, const void* big, const void* w, WeightCache&);
// As conv_bias_act, where the activation is a ReLU, clamped or not.
bool has_conv_relu(const ConvProblem&, const Epilogue<>& e);
void conv_relu(const ConvProblem&, const Epilogue<>& e, void* small, const void* big, const void* w, WeightCache&);
void conv_backward_data(const ConvProblem&, void* big, const void* small, const void* w, WeightCache&);
void conv_backward_weights(const ConvProblem&, void* dw, const void* big, const void* small);

}  // namespace firn::kernels::onednn
