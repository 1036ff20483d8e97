// The input gradient of a 3x3 stride-2 convolution (equally: the x2 transposed convolution) as four stride-1
// convolutions, one for each parity of the output's row and column, where winograd_stride2.simd.cpp does not serve: in
// bf16 with AMX, and of few channels or pixels. oneDNN 2.6 runs the strided one far slower, in bf16 above all.
#pragma once
#include "kernels/conv/conv.h"

namespace firn::kernels {

bool halves(const ConvProblem&);      // whether it is of stride 2, from 2 OH + 1 x 2 OW + 1 pixels without padding
bool has_phases(const ConvProblem&);  // whether the problem is of this kind
void conv_backward_data_by_phases(const Stream&, const ConvProblem&, void* big, const void* small, const void* w,
                                  WeightCache&);

}  // namespace firn::kernels
