// From the sums of a modulated convolution to what is stored, two neighbouring outputs at a time.
#pragma once
#ifdef __CUDACC__
#include "kernels/core/mma.h"
#include "kernels/styled/modulated_conv.h"

namespace firn::kernels {

__device__ inline uint32_t finish_pair(const Epilogue<float>& then, float z0, float z1, float2 d, float2 b, float nu) {
  return mma::round_pair(then(z0, d.x, b.x, nu), then(z1, d.y, b.y, nu));
}

// Eight outputs of a pixel, which is counted through all samples, to y.
__device__ inline void store_eight(const ModulatedConvProblem& p, const ModulatedConvOperands& a, int64_t pixel, int o,
                                   uint4 eight) {
  const int64_t at = pixel * p.O + o;
  if (a.then.addend) {
    const uint4 more = *reinterpret_cast<const uint4*>(static_cast<const bf16*>(a.then.addend) + at);
    eight = {mma::add_pairs(eight.x, more.x), mma::add_pairs(eight.y, more.y), mma::add_pairs(eight.z, more.z),
             mma::add_pairs(eight.w, more.w)};
  }
  *reinterpret_cast<uint4*>(a.y + at) = eight;
}

// From the sums of eight warps, which share out a tile of pixels by outputs as in ModulatedConv, to y. pixel_of(row)
// counts the pixels of all samples, and is negative outside. The tile goes through shared memory, which all have left.
template <int pixels, int outputs, class PixelOf>
__device__ void store_tile(const ModulatedConvProblem& p, const ModulatedConvOperands& a, int o0,
                           const float (&sum)[pixels / 64][outputs / 16][4], unsigned char* shared,
                           const PixelOf& pixel_of) {
  constexpr int pitch = outputs + 8;  // 8: neighbouring rows begin in different banks
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, quad = lane / 4, pair = lane % 4 * 2;
  const int HW = int(p.H * p.W), O = int(p.O);
  bf16* const tile = reinterpret_cast<bf16*>(shared);
#pragma unroll
  for (int i = 0; i < pixels / 64; ++i)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = warp % 4 * (pixels / 4) + i * 16 + h * 8 + quad, m = pixel_of(row);
      if (m < 0) continue;
      const int n = m / HW;
      const float nu = a.then.noise_at(n, HW, m - n * HW);
#pragma unroll
      for (int j = 0; j < outputs / 16; ++j) {
        const int column = warp / 4 * (outputs / 2) + j * 8 + pair, o = o0 + column;
        if (o >= O) continue;
        const float2 d = a.then.d ? *reinterpret_cast<const float2*>(a.then.d + int64_t(n) * O + o) : float2{1, 1};
        const float2 b = a.then.b ? *reinterpret_cast<const float2*>(a.then.b + o) : float2{0, 0};
        *reinterpret_cast<uint32_t*>(tile + row * pitch + column) =
            finish_pair(a.then, sum[i][j][2 * h], sum[i][j][2 * h + 1], d, b, nu);
      }
    }
  __syncthreads();  // a thread stores 16 bytes that several have written
  for (int i = threadIdx.x; i < pixels * outputs / 8; i += 256) {
    const int row = i / (outputs / 8), column = i % (outputs / 8) * 8, m = pixel_of(row);
    if (m >= 0 && o0 + column < O)
      store_eight(p, a, m, o0 + column, *reinterpret_cast<const uint4*>(tile + row * pitch + column));
  }
}

}  // namespace firn::kernels
#endif
