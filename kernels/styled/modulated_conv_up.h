// The layer that doubles an image in one kernel, on tensor cores: a transposed convolution of stride 2, the filter
// after it, and all that follows. Without scales it is also the input gradient of the layer that halves one. The
// trade-off: what the filter reads from neighbouring tiles is computed again, 256 cells for each 196 that are kept,
// which saves writing and reading an intermediate image four times as large as x.
#pragma once
#include "kernels/styled/modulated_conv.h"

namespace firn::kernels {

// A separable filter of four taps along each axis, as a correlation; one of them holds the gain.
struct Taps {
  float x[4], y[4];
};

// H and W of the problem are those of y, twice those of x; K is 3. Otherwise as `fits`.
bool fits_up(const ModulatedConvProblem&);

// Takes no addend. y[n,p,o] = then(sum over t in 4x4 of f[t] z[n,p+t-1,o]), z[n,2q+k,o] += w[o,k,i] u[n,q,i], zero
// outside; u as in modulated_conv. z and its filtering are float.
void modulated_conv_up(const Stream&, const ModulatedConvProblem&, const Taps&, const ModulatedConvOperands&);

// A cell is a pixel of x with the 2x2 values of z at 2q and 2q + 1. A block computes 16x16 of them for 16 outputs, and
// keeps y where it has all that the filter needs: within a margin of one. Each of eight warps takes two rows.
template <bool scaled>
struct ModulatedConvUp {
  static constexpr const char* name = "modulated_conv_up";
  static constexpr int threads = 256, blocks_at_once = 2;
  static constexpr int side = 16, inner = side - 2, cells = side * side, outputs = 16;
  static constexpr int stages = 3, stage_bytes = (cells + 9 * outputs) * kConvChannels * 2;
  static_assert(4 * cells * outputs * sizeof(float) <= stages * stage_bytes);
  ModulatedConvProblem p;
  Taps f;
  ModulatedConvOperands a;

  FIRN_DEVICE int across() const { return (int(p.W) / 2 + inner - 1) / inner; }
  FIRN_DEVICE int down() const { return (int(p.H) / 2 + inner - 1) / inner; }
  FIRN_DEVICE int columns() const { return (int(p.O) + outputs - 1) / outputs; }
  int64_t blocks() const { return p.N * down() * across() * columns(); }
  int64_t shared_bytes() const { return stages * stage_bytes + (scaled ? p.I * 2 : 0); }
#ifdef __CUDACC__
  __device__ void operator()(unsigned char* shared) const;
#endif
};

}  // namespace firn::kernels
