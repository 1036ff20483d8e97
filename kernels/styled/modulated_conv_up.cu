#include "kernels/styled/modulated_conv_up.h"

#ifdef __CUDACC__
#include "kernels/core/team.h"
#include "kernels/styled/modulated_conv_epilogue.h"

namespace firn::kernels {

template <bool scaled>
__device__ void ModulatedConvUp<scaled>::operator()(unsigned char* shared) const {
  constexpr int rows = threads / 4;  // that all threads copy at once: a thread brings a chunk of 16 bytes of each
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, quad = lane / 4, pair = lane % 4 * 2;
  const int H = int(p.H) / 2, W = int(p.W) / 2, I = int(p.I), O = int(p.O);
  const int o0 = int(blockIdx.x) % columns() * outputs, tile = int(blockIdx.x) / columns();
  const int n = tile / across() / down();
  // The first cell that is kept is at (1, 1) of the tile.
  const int y0 = tile / across() % down() * inner - 1, x0 = tile % across() * inner - 1;
  const uint32_t memory = mma::shared_address(shared);

  const int row = threadIdx.x / 4, chunk = threadIdx.x % 4;
  const int x = x0 + row % side, y = y0 + row / side, o_of_w = o0 + row % outputs;
  const int x_at = ((n * H + y) * W + x) * I + chunk * 8, w_at = (o_of_w * 9 + row / outputs) * I + chunk * 8;
  const auto load = [&](int k) {
    const uint32_t to = memory + k % stages * stage_bytes + mma::place(row, chunk);
    const auto copy = [&](int to_row, const bf16* from, int at, bool any) {
      mma::copy_async(to + to_row * mma::kRowBytes, from + (any ? at + k * kConvChannels : 0), any);
    };
    for (int i = 0; i < cells; i += rows) {
      const int down = i / side;
      copy(i, a.x, x_at + down * W * I, x >= 0 && x < W && y + down >= 0 && y + down < H);
    }
    for (int i = 0; i < 9 * outputs; i += rows)
      if (row + i < 9 * outputs) copy(cells + i, a.w, w_at + i / outputs * I, o_of_w < O);
  };
  const int steps = I / kConvChannels;
  for (int k = 0; k < stages - 1; ++k) {
    if (k < steps) load(k);
    mma::commit_copies();
  }
  // The first barrier of the loop makes this row everybody's.
  bf16* const s = reinterpret_cast<bf16*>(shared + stages * stage_bytes);
  if constexpr (scaled)
    for (int i = threadIdx.x; i < I; i += threads) s[i] = bf16(a.s[n * I + i]);

  // Along each axis z[2q] takes w[0] u[q] + w[2] u[q-1], z[2q+1] takes w[1] u[q]: four kinds of z, in 4, 2, 2 and 1 of
  // the 9 products. Left of the tile and above it lies nothing, so there z[2q] is wrong; the filter does not read it.
  float sum[4][2][2][4] = {};  // kinds of z, rows of cells, halves of the outputs
  for (int k = 0; k < steps; ++k) {
    mma::await_copies<stages - 2>();
    __syncthreads();  // step k is there for all, and all are done with step k - 1, whose stage is filled next
    if (k + stages - 1 < steps) load(k + stages - 1);
    mma::commit_copies();  // an empty group, too, keeps the count
    const uint32_t left_side = memory + k % stages * stage_bytes, right_side = left_side + cells * mma::kRowBytes;
#pragma unroll 1
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int before = 0; before < 2; ++before) {  // products with u from q on, then from q - 1 on
        uint32_t left[3][4];                        // the row above, and both rows
        for (int r = 0; r < 3; ++r) {
          const int cell = max((warp * 2 + r - 1) * side + lane % 16 - before, 0);
          mma::load_matrices(left[r], left_side + mma::place(cell, half * 2 + lane / 16));
          if constexpr (scaled)
            for (int i = 0; i < 4; ++i)
              left[r][i] = mma::multiply_pairs(
                  left[r][i], *reinterpret_cast<const uint32_t*>(s + k * kConvChannels + half * 16 + i / 2 * 8 + pair));
        }
#pragma unroll
        for (int ky = 0; ky < 3; ++ky)
#pragma unroll
          for (int kx = before * 2; kx < 2 + before; ++kx) {
            uint32_t right[4];
            const int output = (ky * 3 + kx) * outputs + lane / 16 * 8 + lane % 8;
            mma::load_matrices(right, right_side + mma::place(output, half * 2 + lane / 8 % 2));
            for (int i = 0; i < 2; ++i)
              for (int j = 0; j < 2; ++j)
                mma::multiply(sum[ky % 2 * 2 + kx % 2][i][j], left[i + 1 - ky / 2], right[j * 2], right[j * 2 + 1]);
          }
      }
  }

  __syncthreads();  // the stages become z
  // Four outputs of a kind of z of a cell. Each second pair of cells exchanges halves, for the sake of the banks.
  const auto z = [&](int kind, int cell, int four) {
    return reinterpret_cast<float4*>(shared) + (kind * cells + cell) * (outputs / 4) + (four ^ cell / 2 % 2 * 2);
  };
#pragma unroll
  for (int kind = 0; kind < 4; ++kind)
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 2; ++j)
        for (int h = 0; h < 2; ++h) {
          float4* const four = z(kind, (warp * 2 + i) * side + h * 8 + quad, j * 2 + lane % 4 / 2);
          reinterpret_cast<float2*>(four)[lane % 2] = {sum[kind][i][j][2 * h], sum[kind][i][j][2 * h + 1]};
        }
  __syncthreads();  // the filter reads what other warps have summed

  constexpr int strip = 4;  // rows of cells of a thread, which has one column of them and four outputs
  const int four = threadIdx.x % 4, cx = threadIdx.x / 4 % inner + 1, first = threadIdx.x / (4 * inner) * strip + 1;
  const int o = o0 + four * 4, qx = x0 + cx;
  if (first > inner || qx >= W || o >= O) return;
  const auto load_two = [](const float* from, float otherwise, float2(&v)[2]) {
    for (int i = 0; i < 2; ++i) v[i] = from ? reinterpret_cast<const float2*>(from)[i] : float2{otherwise, otherwise};
  };
  float2 d[2], b[2];
  load_two(a.then.d ? a.then.d + int64_t(n) * O + o : nullptr, 1, d);
  load_two(a.then.b ? a.then.b + o : nullptr, 0, b);
  // Rows of z, filtered along x for both columns of y.
  using Row = float[2][4];
  const auto filter = [&](Row& h, int odd, int cy) {
    const float4 v[5] = {*z(odd * 2 + 1, cy * side + cx - 1, four), *z(odd * 2, cy * side + cx, four),
                         *z(odd * 2 + 1, cy * side + cx, four), *z(odd * 2, cy * side + cx + 1, four),
                         *z(odd * 2 + 1, cy * side + cx + 1, four)};
    for (int i = 0; i < 2; ++i) {
      const auto at = [&](float float4::*c) {
        return f.x[0] * v[i].*c + f.x[1] * v[i + 1].*c + f.x[2] * v[i + 2].*c + f.x[3] * v[i + 3].*c;
      };
      h[i][0] = at(&float4::x), h[i][1] = at(&float4::y), h[i][2] = at(&float4::z), h[i][3] = at(&float4::w);
    }
  };
  Row h[5];  // z[2q-1] to z[2q+3] along y
  filter(h[0], 1, first - 1);
  filter(h[1], 0, first);
  filter(h[2], 1, first);
#pragma unroll
  for (int r = 0; r < strip; ++r) {
    const int cy = first + r, qy = y0 + cy;
    if (cy > inner || qy >= H) return;
    filter(h[3], 0, cy + 1);
    filter(h[4], 1, cy + 1);
    for (int v = 0; v < 2; ++v)
      for (int u = 0; u < 2; ++u) {
        float t[4];
        for (int c = 0; c < 4; ++c)
          t[c] = f.y[0] * h[v][u][c] + f.y[1] * h[v + 1][u][c] + f.y[2] * h[v + 2][u][c] + f.y[3] * h[v + 3][u][c];
        const int q = (2 * qy + v) * 2 * W + 2 * qx + u;
        const float nu = a.then.noise_at(n, 4 * H * W, q);
        *reinterpret_cast<uint2*>(a.y + (int64_t(n) * 4 * H * W + q) * O + o) = {
            finish_pair(a.then, t[0], t[1], d[0], b[0], nu), finish_pair(a.then, t[2], t[3], d[1], b[1], nu)};
      }
    for (int i = 0; i < 3; ++i)
      for (int u = 0; u < 2; ++u)
        for (int c = 0; c < 4; ++c) h[i][u][c] = h[i + 2][u][c];
  }
}

}  // namespace firn::kernels

using namespace firn::kernels;
FIRN_KERNEL(ModulatedConvUp<false>);
FIRN_KERNEL(ModulatedConvUp<true>);
#endif
