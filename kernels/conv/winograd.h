// 3x3 convolutions of stride 1 and 2 on the CPU by Winograd's minimal filtering, with all that comes before and after
// them in a styled layer in the same pass over memory. winograd.simd.cpp and winograd_stride2.simd.cpp have the
// mathematics. The trade-off: a quarter of the multiplications, for sums that round about five times as much as direct
// ones in f32; of stride 2 nine of sixteen, for sums that round up to three times as much.
#pragma once
#include "kernels/conv/conv.h"

namespace firn::kernels {

// 3x3, stride 1 or, between H x W and 2 H + 1 x 2 W + 1, stride 2, f32 or bf16 on the CPU, of enough channels and
// pixels that it is faster than direct: by shape alone, so that results repeat. bf16 is storage, where there is no AMX:
// loaded, computed with in f32, rounded.
bool fits_winograd(const Stream&, const ConvProblem&);

// small = e(conv(s big, w)) + addend, s [N,I] or null. As kernels/styled/styled_conv.h has it.
void winograd_forward(const Stream&, const ConvProblem&, const Epilogue<>& e, void* small, const void* big,
                      const void* s, const void* w);
void winograd_backward_data(const Stream&, const ConvProblem&, void* big, const void* small, const void* w);
void winograd_backward_weights(const Stream&, const ConvProblem&, void* dw, const void* big, const void* small);

// ---- What is compiled for each instruction set (kernels/core/simd.h)

constexpr int64_t kMostWinogradChannels = 8192;

// y [N,OH,OW,C] = correlation of x [N,H,W,K] with 3x3 taps, x padded by pad on the left and above; or, with stride 2,
// what `transposed` makes of the small image x the big one y.
struct Winograd {
  int64_t N, H, W, K, OH, OW, C, pad_y, pad_x;
  bool transposed = false;
  int64_t tiles_down() const { return ((transposed ? H : OH) + 3) / 4; }
  int64_t tiles_across() const { return ((transposed ? W : OW) + 3) / 4; }
  int64_t tiles() const { return N * tiles_down() * tiles_across(); }
};

// The 3x3 taps between channels k and c lie at w + k stride_k + c stride_c + tap stride_tap. `turned` by half a turn,
// they are those of the input gradient.
struct WinogradTaps {
  int64_t stride_k, stride_c, stride_tap;
  bool turned;
  float gain;
};

struct WinogradKernels {
  int64_t (*scratch_size)(const Winograd&, int threads);  // floats
  // y = e(sums) + addend, s [N,K] or null; transposed the sums alone, without s.
  void (*convolve)(DType, const Winograd&, const WinogradTaps&, const Epilogue<float>& e, void* y, const void* x,
                   const float* s, const float* w, float* scratch, int threads);
  int64_t (*gradient_scratch_size)(const Winograd&, bool over_x, int threads);
  // dw of the problem, its vectors along K (over_x) or C, whichever lies densely in dw.
  void (*weight_gradient)(DType, const Winograd&, const WinogradTaps&, bool over_x, float* dw, const void* x,
                          const void* gy, float* scratch, int threads);
};

namespace baseline {
extern const WinogradKernels winograd, winograd_stride2;
}
namespace avx2 {
extern const WinogradKernels winograd, winograd_stride2;
}
namespace avx512 {
extern const WinogradKernels winograd, winograd_stride2;
}

}  // namespace firn::kernels
