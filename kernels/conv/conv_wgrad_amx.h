// Weight gradients in bf16 on Intel's AMX tiles, for shapes that oneDNN 2.6 does slowly: strided and small ones above
// all. CPU only: here the tile is the algorithm, and the definition is kernels/conv/conv.cu.
#pragma once
#include "kernels/conv/conv.h"
#include "kernels/core/cpu_target.h"

namespace firn::kernels {

bool fits_amx_wgrad(const ConvProblem&);  // bf16, channels in blocks of 32, an even batch, rows that fill tiles
void conv_backward_weights_amx(const ConvProblem&, float* dw, const bf16* big, const bf16* small);

}  // namespace firn::kernels
