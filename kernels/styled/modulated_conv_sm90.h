// The modulated convolution of modulated_conv.h as sm_90a does it best: the copy engine fetches tiles, one warpgroup
// asks for them, two multiply. The trade-off: one block has a multiprocessor to itself, so small problems waste it.
#pragma once
#include "kernels/core/tensor_map.h"
#include "kernels/styled/modulated_conv.h"

namespace firn::kernels {

// Whether the build has kernels of that architecture alone; elsewhere they are empty.
bool has_code_for_sm90a();
// And whether the current device is of it.
bool has_modulated_conv_sm90(const Stream&);

// I a multiple of 64, O of 8, K 1 or 3, indices of 32 bits.
bool fits_sm90(const ModulatedConvProblem&);

// As modulated_conv. A block computes 128 pixels by 64, 128 or 256 outputs; 0: as many as suit the problem.
void modulated_conv_sm90(const Stream&, const ModulatedConvProblem&, const ModulatedConvOperands&, int outputs = 0);

// The 128 pixels of a tile, w x h of n samples, as powers of two.
struct PixelBox {
  int log_w = 7, log_h = 0, log_n = 0;
  FIRN_DEVICE int w() const { return 1 << log_w; }
  FIRN_DEVICE int h() const { return 1 << log_h; }
  FIRN_DEVICE int n() const { return 1 << log_n; }
  int64_t count(const ModulatedConvProblem& p) const {
    return (p.W + w() - 1) / w() * ((p.H + h() - 1) / h()) * ((p.N + n() - 1) / n());
  }
};

template <int outputs, Scales scales>
struct ModulatedConvSm90 {
  static constexpr const char* name = "modulated_conv_sm90";
  static constexpr int threads = 384, blocks_at_once = 1;
  static constexpr int pixels = 128, channels = 64;  // of a step of the sum, for one place of the window
  static constexpr int stages = outputs == 64 ? 6 : 4, stage_bytes = (pixels + outputs) * channels * 2;
  TensorMap x, w;  // boxes of pixels and of outputs, by channels
  ModulatedConvProblem p;
  ModulatedConvOperands a;
  PixelBox box;

  int64_t blocks() const { return box.count(p) * ((p.O + outputs - 1) / outputs); }
  int64_t shared_bytes() const {
    return stages * (stage_bytes + 16) + (scales == Scales::none ? 0 : box.n() * scale_pitch() * 2) +
           (1 + box.n()) * outputs * 4;
  }
  FIRN_DEVICE int scale_pitch() const { return int(p.I) + 8; }  // 8: rows of s begin in different banks
#ifdef __CUDACC__
  __device__ void operator()(unsigned char* shared) const;
#endif
};

}  // namespace firn::kernels
