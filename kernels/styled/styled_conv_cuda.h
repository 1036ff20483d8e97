// kernels/styled/styled_conv.h on a GPU.
#pragma once
#include "kernels/styled/styled_conv.h"

namespace firn::kernels::cuda {

bool has_styled_conv(const Stream&, const ConvProblem&);
void styled_conv(const Stream&, const ConvProblem&, const Epilogue<>& e, void* y, const void* x, const void* s,
                 const void* w, WeightCache&);
bool has_styled_conv_up(const Stream&, const ConvProblem&);
bool styled_conv_up(const Stream&, const ConvProblem&, const Taps& f, const Epilogue<>& e, void* y, const void* x,
                    const void* s, const void* w, WeightCache&, const InSteps& in_steps);
bool has_styled_conv_down(const Stream&, const ConvProblem&);
bool styled_conv_down(const Stream&, const ConvProblem&, const Taps& f, const Epilogue<>& e, void* y, const void* x,
                      const void* w, WeightCache&, const InSteps& in_steps);

}  // namespace firn::kernels::cuda
