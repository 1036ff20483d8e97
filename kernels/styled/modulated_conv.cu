#include "kernels/styled/modulated_conv.h"

#ifdef __CUDACC__
#include "kernels/core/team.h"
#include "kernels/styled/modulated_conv_epilogue.h"

namespace firn::kernels {

namespace {

using mma::kRowBytes, mma::place;
static_assert(kRowBytes == kConvChannels * 2);

// The rows of x and w that a thread copies to shared memory, a chunk of 16 bytes a row and step. Steps go through the
// window of K x K and then on to the next channels, so that what is read again was read a moment ago.
template <int pixels, int outputs>
class Loader {
 public:
  __device__ Loader(const ModulatedConvProblem& p, const ModulatedConvOperands& a, int first_pixel, int first_output,
                    uint32_t shared)
      : H_(int(p.H)), W_(int(p.W)), I_(int(p.I)), K_(p.K) {
    const int row = threadIdx.x / 4, chunk = threadIdx.x % 4;
    to_ = shared + place(row, chunk);
    for (int i = 0; i < kPixels; ++i) {
      const int m = first_pixel + row + i * kRows, HW = H_ * W_;
      const bool inside = m < int(p.N) * HW;
      const int q = inside ? m % HW : 0;
      x_[i] = a.x + (inside ? int64_t(m) * I_ : 0) + chunk * 8;
      row_[i] = inside ? q / W_ : -2;  // outside for every place of the window
      column_[i] = q % W_;
    }
    for (int i = 0; i < kOutputs; ++i) {
      const int o = first_output + row + i * kRows;
      any_[i] = o < int(p.O);
      w_[i] = a.w + (any_[i] ? int64_t(o) * K_ * K_ * I_ : 0) + chunk * 8;
    }
  }

  __device__ void next() {
    const uint32_t to = to_ + step_ % kConvStages * (pixels + outputs) * kRowBytes;
    const int dy = ky_ - K_ / 2, dx = kx_ - K_ / 2;
    for (int i = 0; i < kPixels; ++i) {
      const int y = row_[i] + dy, x = column_[i] + dx;
      const bool any = y >= 0 && y < H_ && x >= 0 && x < W_;
      mma::copy_async(to + i * kRows * kRowBytes, x_[i] + (any ? (dy * W_ + dx) * I_ + channel_ : 0), any);
    }
    for (int i = 0; i < kOutputs; ++i)
      mma::copy_async(to + (pixels + i * kRows) * kRowBytes, w_[i] + (any_[i] ? (ky_ * K_ + kx_) * I_ + channel_ : 0),
                      any_[i]);
    ++step_;
    if (++kx_ < K_) return;
    kx_ = 0;
    if (++ky_ < K_) return;
    ky_ = 0;
    channel_ += kConvChannels;
  }

 private:
  static constexpr int kRows = 64, kPixels = pixels / kRows, kOutputs = outputs / kRows;  // 256 threads, 4 a row
  int H_, W_, I_, K_;
  uint32_t to_, step_ = 0;
  const bf16 *x_[kPixels], *w_[kOutputs];
  int row_[kPixels], column_[kPixels];
  bool any_[kOutputs];
  int ky_ = 0, kx_ = 0, channel_ = 0;
};

}  // namespace

template <int pixels, int outputs, Scales scales>
__device__ void ModulatedConv<pixels, outputs, scales>::operator()(unsigned char* shared) const {
  constexpr int warp_pixels = pixels / 4, warp_outputs = outputs / 2;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, quad = lane / 4, pair = lane % 4 * 2;
  const int HW = int(p.H) * int(p.W), M = int(p.N) * HW, I = int(p.I);
  const int columns = (int(p.O) + outputs - 1) / outputs;
  const int m0 = int(blockIdx.x) / columns * pixels, n0 = int(blockIdx.x) % columns * outputs;
  const int wm = warp % 4 * warp_pixels, wn = warp / 4 * warp_outputs;
  const int first_sample = m0 / HW, last_sample = (min(m0 + pixels, M) - 1) / HW;
  const uint32_t stages = mma::shared_address(shared);

  Loader<pixels, outputs> loader(p, a, m0, n0, stages);
  const int steps = p.K * p.K * (I / kConvChannels);
  for (int k = 0; k < kConvStages - 1; ++k) {
    if (k < steps) loader.next();
    mma::commit_copies();
  }

  // The first barrier of the loop makes these rows everybody's.
  bf16* const s = reinterpret_cast<bf16*>(shared + kConvStages * stage_bytes);
  if constexpr (scales != Scales::none)
    for (int i = threadIdx.x; i < (last_sample - first_sample + 1) * I; i += threads)
      s[i / I * scale_pitch() + i % I] = bf16(a.s[first_sample * I + i]);
  const bf16* s_of[warp_pixels / 16][2] = {};
  for (int i = 0; i < warp_pixels / 16; ++i)
    for (int h = 0; h < 2; ++h) {
      const int m = m0 + wm + i * 16 + h * 8 + quad;
      s_of[i][h] = s + (scales == Scales::each ? (min(m / HW, last_sample) - first_sample) * scale_pitch() : 0) + pair;
    }

  float sum[warp_pixels / 16][warp_outputs / 8][4] = {};
  int tap = 0;
  for (int k = 0; k < steps; ++k) {
    mma::await_copies<kConvStages - 2>();
    __syncthreads();  // step k is there for all, and all are done with step k - 1, whose stage is filled next
    if (k + kConvStages - 1 < steps) loader.next();
    mma::commit_copies();  // an empty group, too, keeps the count
    const uint32_t x = stages + k % kConvStages * stage_bytes, w = x + pixels * kRowBytes;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t left[warp_pixels / 16][4], right[warp_outputs / 16][4];
      for (int i = 0; i < warp_pixels / 16; ++i)
        mma::load_matrices(left[i], x + place(wm + i * 16 + lane % 16, half * 2 + lane / 16));
      for (int j = 0; j < warp_outputs / 16; ++j)
        mma::load_matrices(right[j], w + place(wn + j * 16 + lane / 16 * 8 + lane % 8, half * 2 + lane / 8 % 2));
      if constexpr (scales != Scales::none)
        for (int i = 0; i < warp_pixels / 16; ++i)
          for (int r = 0; r < 4; ++r) {
            const bf16* at = s_of[scales == Scales::one ? 0 : i][scales == Scales::one ? 0 : r % 2];
            left[i][r] =
                mma::multiply_pairs(left[i][r], *reinterpret_cast<const uint32_t*>(at + half * 16 + r / 2 * 8));
          }
      for (int i = 0; i < warp_pixels / 16; ++i)
        for (int j = 0; j < warp_outputs / 8; ++j)
          mma::multiply(sum[i][j], left[i], right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]);
    }
    if (++tap < p.K * p.K) continue;
    tap = 0;
    for (int i = 0; i < warp_pixels / 16; ++i)
      for (int h = 0; h < 2; ++h) s_of[i][h] += kConvChannels;
  }

  __syncthreads();  // the stages become the tile of y
  store_tile<pixels, outputs>(p, a, n0, sum, shared, [&](int row) { return m0 + row < M ? m0 + row : -1; });
}

}  // namespace firn::kernels

using namespace firn::kernels;
FIRN_KERNEL(ModulatedConv<64, 64, Scales::none>);
FIRN_KERNEL(ModulatedConv<64, 64, Scales::one>);
FIRN_KERNEL(ModulatedConv<64, 64, Scales::each>);
FIRN_KERNEL(ModulatedConv<128, 64, Scales::none>);
FIRN_KERNEL(ModulatedConv<128, 64, Scales::one>);
FIRN_KERNEL(ModulatedConv<128, 64, Scales::each>);
FIRN_KERNEL(ModulatedConv<128, 128, Scales::none>);
FIRN_KERNEL(ModulatedConv<128, 128, Scales::one>);
FIRN_KERNEL(ModulatedConv<128, 128, Scales::each>);
#endif
