// A convolution between what comes before and after it in a styled layer, in as few passes as a provider offers:
// y = clamp(gain lrelu(d conv(s x, w) + strength noise + b)).
#pragma once
#include "kernels/conv.h"

namespace firn::kernels {

// Whether styled_conv may take fewer passes than its parts. Where not, it need not be called.
bool has_styled_conv(const Stream&, const ConvProblem&);

// As conv_bias_act, with s [N,I], or null for none. bf16.
void styled_conv(const Stream&, const ConvProblem&, const ConvEpilogue&, void* y, const void* x, const void* s,
                 const void* w, WeightCache&);

}  // namespace firn::kernels
