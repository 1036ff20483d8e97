#include "kernels/styled/modulated_conv_sm90.h"

#ifdef __CUDACC__
#include "kernels/core/team.h"
#include "kernels/core/wgmma.h"
#include "kernels/styled/modulated_conv_epilogue.h"

namespace firn::kernels {

// Two rings of barriers, a pair for each stage. `full`: the loading thread arrives once and announces the bytes of a
// step, so a phase ends when x and w are there. `empty`: each of the eight multiplying warps arrives once when it has
// done with the stage. Use number r of a stage (r = 0, 1, ...) is phase r of both: the loader waits for the end of
// phase r - 1 of `empty`, the multipliers for the end of phase r of `full`. Nobody can be two phases ahead of the
// other, so a parity tells them apart.
template <int outputs, Scales scales>
__device__ void ModulatedConvSm90<outputs, scales>::operator()(unsigned char* shared) const {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int loaders = 128, multipliers = threads - loaders, row_bytes = channels * 2;
  const int H = int(p.H), W = int(p.W), I = int(p.I), O = int(p.O), K = p.K;
  const int columns = (O + outputs - 1) / outputs, across = (W - 1) / box.w() + 1, down = (H - 1) / box.h() + 1;
  const int o0 = int(blockIdx.x) % columns * outputs, tile = int(blockIdx.x) / columns;
  const int x0 = tile % across * box.w(), y0 = tile / across % down * box.h(), n0 = tile / across / down * box.n();
  const int steps = K * K * (I / channels);
  const uint32_t memory = mma::shared_address(shared), full = memory + stages * stage_bytes, empty = full + stages * 8;

  if (threadIdx.x < stages) {
    wgmma::init_barrier(full + threadIdx.x * 8, 1);
    wgmma::init_barrier(empty + threadIdx.x * 8, multipliers / 32);
    wgmma::fence_barriers();
  }
  __syncthreads();  // the barriers are there for all

  if (threadIdx.x < loaders) {
    wgmma::give_registers<24>();
    if (threadIdx.x == 0) {
      int kx = 0, ky = 0, channel = 0, stage = 0, use = 0;
      for (int k = 0; k < steps; ++k) {
        const uint32_t to = memory + stage * stage_bytes, barrier = full + stage * 8;
        wgmma::await(empty + stage * 8, (use + 1) % 2, {name, "empty", stage});
        wgmma::arrive_expecting(barrier, stage_bytes);
        wgmma::copy_box(to, &x, barrier, channel, x0 + kx - K / 2, y0 + ky - K / 2, n0);
        wgmma::copy_box(to + pixels * row_bytes, &w, barrier, (ky * K + kx) * I + channel, o0);
        if (++stage == stages) stage = 0, ++use;
        if (++kx < K) continue;
        kx = 0;
        if (++ky < K) continue;
        ky = 0;
        channel += channels;
      }
    }
  } else {
    wgmma::take_registers<240>();
    const int thread = int(threadIdx.x) - loaders, lane = thread % 32, row = thread / 32 * 16;  // 16 rows a warp
    const int quad = lane / 4, pair = lane % 4 * 2;

    // Once a block: the rows of s, b and d that it needs, neutral where there are none.
    const int samples = box.n();
    bf16* const s = reinterpret_cast<bf16*>(shared + stages * (stage_bytes + 16));
    float* const b = reinterpret_cast<float*>(s + (scales == Scales::none ? 0 : samples * scale_pitch()));
    float* const d = b + outputs;
    if constexpr (scales != Scales::none)
      for (int i = thread; i < samples * I; i += multipliers)
        s[i / I * scale_pitch() + i % I] = bf16(a.s[min(n0 + i / I, int(p.N) - 1) * I + i % I]);
    for (int i = thread; i < outputs; i += multipliers) b[i] = a.then.b && o0 + i < O ? a.then.b[o0 + i] : 0;
    for (int i = thread; i < samples * outputs; i += multipliers) {
      const int n = n0 + i / outputs, o = o0 + i % outputs;
      d[i] = a.then.d && n < int(p.N) && o < O ? a.then.d[int64_t(n) * O + o] : 1;
    }
    if constexpr (scales != Scales::none) wgmma::sync_some<1, multipliers>();  // s is there for all; b and d have time
    const bf16* s_of[2];
    for (int h = 0; h < 2; ++h)
      s_of[h] =
          s + (scales == Scales::each ? ((row + h * 8 + quad) >> (box.log_w + box.log_h)) * scale_pitch() : 0) + pair;

    int tap = 0, stage = 0, use = 0;
    const auto load = [&](uint32_t(&u)[channels / 16][4], int stage) {
      const uint32_t left = memory + stage * stage_bytes;
#pragma unroll
      for (int i = 0; i < channels / 16; ++i) {
        const int at = row + lane % 16;
        mma::load_matrices(u[i], left + at * row_bytes + ((i * 2 + lane / 16) ^ at % 8) * 16);
        if constexpr (scales != Scales::none)
          for (int r = 0; r < 4; ++r)
            u[i][r] = mma::multiply_pairs(u[i][r], *reinterpret_cast<const uint32_t*>(
                                                       s_of[scales == Scales::one ? 0 : r % 2] + i * 16 + r / 2 * 8));
        wgmma::pin(u[i]);
      }
      if (++tap < K * K) return;
      tap = 0;
      for (int h = 0; h < 2; ++h) s_of[h] += channels;
    };
    // The products of a step run while the left side of the next is loaded and scaled.
    float sum[outputs / 2] = {};
    wgmma::pin(sum);
    const auto step = [&](uint32_t(&u)[channels / 16][4], uint32_t(&next)[channels / 16][4], bool last) {
      const uint32_t right = memory + stage * stage_bytes + pixels * row_bytes, done = empty + stage * 8;
      wgmma::fence();
#pragma unroll
      for (int i = 0; i < channels / 16; ++i) wgmma::multiply(sum, u[i], wgmma::describe_rows(right + i * 32));
      wgmma::commit();
      if (++stage == stages) stage = 0, ++use;
      if (!last) {
        wgmma::await(full + stage * 8, use % 2, {name, "full", stage});
        load(next, stage);
      }
      wgmma::wait<0>();
      __syncwarp();
      if (lane == 0) wgmma::arrive(done);
    };
    uint32_t even[channels / 16][4], odd[channels / 16][4];
    wgmma::await(full, 0, {name, "full", 0});
    load(even, 0);
    for (int k = 0; k < steps; k += 2) {
      step(even, odd, k + 1 == steps);
      if (k + 1 < steps) step(odd, even, k + 2 == steps);
    }
    wgmma::pin(sum);

    wgmma::sync_some<1, multipliers>();                                // the stages become the tile of y
    constexpr int pitch = outputs + 8;                                 // 8: neighbouring rows begin in different banks
    bf16* const rows = reinterpret_cast<bf16*>(shared) + row * pitch;  // this warp's
    const auto place = [&](int r) {
      return int3{x0 + (r & (box.w() - 1)), y0 + (r >> box.log_w & (box.h() - 1)), n0 + (r >> (box.log_w + box.log_h))};
    };
    const auto inside = [&](int3 at) { return at.x < W && at.y < H && at.z < int(p.N); };
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int3 at = place(row + h * 8 + quad);
      if (!inside(at)) continue;
      const float nu = a.then.noise_at(at.z, H * W, at.y * W + at.x);
      const float* const d_of_pixel = d + (at.z - n0) * outputs;
      bf16* const row_of_y = rows + (h * 8 + quad) * pitch;
      constexpr int batch = 8;  // reads before writes, which the compiler cannot reorder: both are shared memory
#pragma unroll
      for (int j = 0; j < outputs / 8; j += batch) {
        float2 of_d[batch], of_b[batch];
#pragma unroll
        for (int i = 0; i < batch; ++i) {
          of_d[i] = *reinterpret_cast<const float2*>(d_of_pixel + (j + i) * 8 + pair);
          of_b[i] = *reinterpret_cast<const float2*>(b + (j + i) * 8 + pair);
        }
#pragma unroll
        for (int i = 0; i < batch; ++i)
          *reinterpret_cast<uint32_t*>(row_of_y + (j + i) * 8 + pair) =
              finish_pair(a.then, sum[(j + i) * 4 + 2 * h], sum[(j + i) * 4 + 2 * h + 1], of_d[i], of_b[i], nu);
      }
    }
    __syncwarp();  // a thread stores 16 bytes that several have written
    for (int i = lane; i < 16 * outputs / 8; i += 32) {
      const int r = i / (outputs / 8), column = i % (outputs / 8) * 8;
      const int3 at = place(row + r);
      if (inside(at) && o0 + column < O)
        store_eight(p, a, (int64_t(at.z) * H + at.y) * W + at.x, o0 + column,
                    *reinterpret_cast<const uint4*>(rows + r * pitch + column));
    }
  }
#endif
}

#ifdef FIRN_SM90A
bool has_code_for_sm90a() { return true; }
#else
bool has_code_for_sm90a() { return false; }
#endif

}  // namespace firn::kernels

using namespace firn::kernels;
FIRN_KERNEL(ModulatedConvSm90<64, Scales::none>);
FIRN_KERNEL(ModulatedConvSm90<64, Scales::one>);
FIRN_KERNEL(ModulatedConvSm90<64, Scales::each>);
FIRN_KERNEL(ModulatedConvSm90<128, Scales::none>);
FIRN_KERNEL(ModulatedConvSm90<128, Scales::one>);
FIRN_KERNEL(ModulatedConvSm90<128, Scales::each>);
FIRN_KERNEL(ModulatedConvSm90<256, Scales::none>);
FIRN_KERNEL(ModulatedConvSm90<256, Scales::one>);
FIRN_KERNEL(ModulatedConvSm90<256, Scales::each>);
#endif
