// A convolution between what comes before and after it in a styled layer, in as few passes as a provider offers:
// y = e(conv(s x, w)) + addend, e as in kernels/ops/epilogue.h.
#pragma once
#include <functional>
#include <memory>

#include "kernels/conv/conv.h"
#include "kernels/styled/modulated_conv_up.h"

namespace firn::kernels {

// Whether styled_conv may take fewer passes than its parts. Where not, it need not be called.
bool has_styled_conv(const Stream&, const ConvProblem&);

// As conv_bias_act, with s [N,I], or null for none. bf16; on the CPU f32 as well.
void styled_conv(const Stream&, const ConvProblem&, const Epilogue<>& e, void* y, const void* x, const void* s,
                 const void* w, WeightCache&);

// Layers that resample: a convolution of 3x3, stride 2 and no padding, and a filter of four taps on its big side. Each
// returns true when it has computed y in one kernel; false where in_steps is faster, and what y holds is then of no
// use. bf16, as above; in f the taps are those of a correlation.

// Computes the same in other ways, into memory of its own.
using InSteps = std::function<std::shared_ptr<const void>()>;

// y = e(filter(conv_transposed(s x, w), padded by one)), twice as large as x.
bool has_styled_conv_up(const Stream&, const ConvProblem&);
bool styled_conv_up(const Stream&, const ConvProblem&, const Taps& f, const Epilogue<>& e, void* y, const void* x,
                    const void* s, const void* w, WeightCache&, const InSteps& in_steps);

// y = e(conv(filter(x, padded by two), w)), half as large as x.
bool has_styled_conv_down(const Stream&, const ConvProblem&);
bool styled_conv_down(const Stream&, const ConvProblem&, const Taps& f, const Epilogue<>& e, void* y, const void* x,
                      const void* w, WeightCache&, const InSteps& in_steps);

}  // namespace firn::kernels
