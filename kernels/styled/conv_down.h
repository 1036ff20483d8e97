// The layer that halves an image in one kernel, on tensor cores: the filter, a convolution of stride 2, and all that
// follows. The trade-off: each block filters what it multiplies, so blocks of other outputs filter it again, and a
// weight gradient finds no filtered image; that saves writing and reading one as large as x.
#pragma once
#include "kernels/styled/modulated_conv_up.h"

namespace firn::kernels {

// H and W of the problem are those of y, half those of x; K is 3. Otherwise as `fits`.
bool fits_down(const ModulatedConvProblem&);

// y[n,p,o] = then(sum over (k,i) of w[o,k,i] u[n,2p+k,i]), u[n,q,i] = bf16(sum over t in 4x4 of f[t] x[n,q+t-2,i]), x
// zero outside. Takes no s.
void conv_down(const Stream&, const ModulatedConvProblem&, const Taps&, const ModulatedConvOperands&);

// A block computes 16x8 pixels by 128 outputs: it filters 16 channels of x, then takes the products with them, a row of
// the window at a time. Eight warps share them out as in ModulatedConv.
struct ConvDown {
  static constexpr const char* name = "conv_down";
  static constexpr int threads = 256, blocks_at_once = 2;
  static constexpr int height = 16, width = 8, outputs = 128, channels = 16;
  static constexpr int u_rows = 2 * height + 1, u_pairs = width + 1;        // of columns of u
  static constexpr int x_rows = u_rows + 3, x_pairs = (2 * width + 4) / 2;  // that u takes
  static constexpr int u_bytes = u_rows * u_pairs * 2 * channels * 2, x_bytes = x_rows * x_pairs * 2 * channels * 2;
  static constexpr int stages = 3, stage_bytes = 3 * outputs * channels * 2;  // rows of the window
  static_assert(height * width * (outputs + 8) * 2 <= u_bytes + x_bytes);
  ModulatedConvProblem p;
  Taps f;
  ModulatedConvOperands a;

  FIRN_DEVICE int across() const { return (int(p.W) + width - 1) / width; }
  FIRN_DEVICE int down() const { return (int(p.H) + height - 1) / height; }
  FIRN_DEVICE int columns() const { return (int(p.O) + outputs - 1) / outputs; }
  int64_t blocks() const { return p.N * down() * across() * columns(); }
  int64_t shared_bytes() const { return u_bytes + x_bytes + stages * stage_bytes; }
#ifdef __CUDACC__
  __device__ void operator()(unsigned char* shared) const;

 private:
  __device__ void filter(unsigned char* shared) const;
#endif
};

}  // namespace firn::kernels
