// A modulated convolution with all that follows it in one kernel, on tensor cores (Karras et al. 2020, Eq. 1-3, with
// the weights shared by the samples). CUDA only; whoever calls has a composed definition for the rest. The trade-off: x
// is scaled in registers on its way to each product, which costs arithmetic and saves a pass over memory.
#pragma once
#include "kernels/core/run.h"
#include "kernels/ops/epilogue.h"

namespace firn::kernels {

// Stride 1, padding K / 2: x [N,H,W,I] -> y [N,H,W,O].
struct ModulatedConvProblem {
  int64_t N, H, W, I, O;
  int K;  // 1 or 3
};

struct ModulatedConvOperands {
  bf16* y;
  const bf16* x;
  const bf16* w;             // [O,K,K,I]
  const float* s = nullptr;  // [N,I], or null for none
  Epilogue<float> then{};
};

// Pixels by output channels of a block.
enum class ConvTile : uint8_t { automatic, m64n64, m128n64, m128n128 };

// I a multiple of 32, O of 8, K 1 or 3, indices of 32 bits, and room for the scales of as many samples as a tile meets.
bool fits(const ModulatedConvProblem&, ConvTile = ConvTile::automatic);

// y[n,p,o] = then(sum over (k,i) of w[o,k,i] u[n,p+k,i]), u = bf16(bf16(s[n,i]) x[n,p,i]), and the addend. Sums are
// float; y is rounded once, and once more with an addend. x, w, y and the addend start at multiples of 16 bytes, d and
// b of 8. With null s, d and noise it is a plain convolution; with flipped weights [I,K,K,O], its gradient by x.
void modulated_conv(const Stream&, const ModulatedConvProblem&, const ModulatedConvOperands&,
                    ConvTile = ConvTile::automatic);

// Throws ShapeError, naming the kernel and the problem, unless it fits, has noise for one or for all samples, and
// operands are aligned.
void check_operands(const char* kernel, const ModulatedConvProblem&, const ModulatedConvOperands&, bool fits);

// How many rows of s a tile of pixels needs: none, one, or one for each sample that it meets.
enum class Scales : uint8_t { none, one, each };

inline constexpr int kConvChannels = 32;                // of a step of the sum
inline constexpr int64_t kLeastSharedLimit = 99 << 10;  // of a block, on the architecture that has least (sm_86, sm_89)
inline constexpr int kConvStages = 4;                   // steps whose operands are in shared memory or on their way

// A block computes a tile of `pixels` by `outputs`; the pixels of all samples are counted through. Eight warps, four by
// two, take a quarter by a half of it.
template <int pixels, int outputs, Scales scales>
struct ModulatedConv {
  static constexpr const char* name = "modulated_conv";
  static constexpr int threads = 256, blocks_at_once = 2;
  static constexpr int stage_bytes = (pixels + outputs) * kConvChannels * 2;
  ModulatedConvProblem p;
  ModulatedConvOperands a;

  int64_t blocks() const { return (p.N * p.H * p.W + pixels - 1) / pixels * ((p.O + outputs - 1) / outputs); }
  int64_t samples() const { return (pixels + p.H * p.W - 2) / (p.H * p.W) + 1; }  // of a tile, at most
  int64_t shared_bytes() const {
    return kConvStages * stage_bytes + (scales == Scales::none ? 0 : samples() * scale_pitch() * 2);
  }
  FIRN_DEVICE int scale_pitch() const { return int(p.I) + 8; }  // 8: rows of s begin in different banks
#ifdef __CUDACC__
  __device__ void operator()(unsigned char* shared) const;
#endif
};

}  // namespace firn::kernels
