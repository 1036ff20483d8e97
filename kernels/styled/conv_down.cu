#include "kernels/styled/conv_down.h"

#ifdef __CUDACC__
#include "kernels/core/team.h"
#include "kernels/styled/modulated_conv_epilogue.h"

namespace firn::kernels {

namespace {

constexpr int kBytes = ConvDown::channels * 2;  // of a row of shared memory

// Where chunk q of 16 bytes of a row is: eight rows in succession have their chunks q in eight groups of four banks.
__device__ uint32_t place_half(int row, int q) { return row * kBytes + ((q ^ (row / 4 % 2)) << 4); }

// The row of pixel (r, c). Even columns come first: the window and the filter go by two of them.
template <int pairs>
__device__ int row_of(int r, int c) {
  return (r * 2 + c % 2) * pairs + c / 2;
}

}  // namespace

// u from x, both in shared memory. A thread has two columns, two channels and a third of the rows; it sums each row of
// x along x once for the four rows of u that take it.
__device__ void ConvDown::filter(unsigned char* shared) const {
  constexpr int twos = channels / 2, strip = (u_rows + 2) / 3;
  const int two = threadIdx.x % twos, cp = threadIdx.x / twos % u_pairs;
  const int first = threadIdx.x / (twos * u_pairs) * strip;
  if (first >= u_rows) return;
  float pending[2][2][3] = {};  // the next rows of u, as far as rows of x have been added
#pragma unroll 5
  for (int r = -3; r < strip; ++r) {
    float v[5][2];
    for (int i = 0; i < 5; ++i) {
      const uint32_t both = *reinterpret_cast<const uint32_t*>(
          shared + u_bytes + row_of<x_pairs>(first + r + 3, 2 * cp + i) * kBytes + two * 4);
      v[i][0] = __uint_as_float(both << 16), v[i][1] = __uint_as_float(both & 0xffff0000);
    }
    for (int c = 0; c < 2; ++c) {
      float whole[2];
      for (int i = 0; i < 2; ++i) {
        float(&next)[3] = pending[c][i];
        const float h = f.x[0] * v[c][i] + f.x[1] * v[c + 1][i] + f.x[2] * v[c + 2][i] + f.x[3] * v[c + 3][i];
        whole[i] = next[0] + f.y[3] * h;
        next[0] = next[1] + f.y[2] * h;
        next[1] = next[2] + f.y[1] * h;
        next[2] = f.y[0] * h;
      }
      if (r >= 0)
        *reinterpret_cast<uint32_t*>(shared + place_half(row_of<u_pairs>(first + r, 2 * cp + c), two / 4) +
                                     two % 4 * 4) = mma::round_pair(whole[0], whole[1]);
    }
  }
}

__device__ void ConvDown::operator()(unsigned char* shared) const {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int H = int(p.H), W = int(p.W), I = int(p.I), O = int(p.O);
  const int o0 = int(blockIdx.x) % columns() * outputs, tile = int(blockIdx.x) / columns();
  const int n = tile / across() / down(), y0 = tile / across() % down() * height, x0 = tile % across() * width;
  const uint32_t u = mma::shared_address(shared), x = u + u_bytes, w = x + x_bytes;

  const auto load_x = [&](int channel) {
    for (int i = threadIdx.x; i < x_rows * x_pairs * 4; i += threads) {
      const int r = i / (x_pairs * 4), c = i / 2 % (x_pairs * 2), row = 2 * y0 - 2 + r, column = 2 * x0 - 2 + c;
      const bool any = row >= 0 && row < 2 * H && column >= 0 && column < 2 * W;
      const int at = ((n * 2 * H + row) * 2 * W + column) * I + channel + i % 2 * 8;
      mma::copy_async(x + row_of<x_pairs>(r, c) * kBytes + i % 2 * 16, a.x + (any ? at : 0), any);
    }
  };
  const auto load_w = [&](int k) {  // for row k % 3 of the window and the channels of round k / 3
    const int row = threadIdx.x / 2, q = threadIdx.x % 2;
    const bool any = o0 + row < O;
    for (int kx = 0; kx < 3; ++kx) {
      const int at = ((o0 + row) * 9 + k % 3 * 3 + kx) * I + k / 3 * channels + q * 8;
      mma::copy_async(w + k % stages * stage_bytes + place_half(kx * outputs + row, q), a.w + (any ? at : 0), any);
    }
  };
  load_x(0);
  for (int k = 0; k < stages - 1; ++k) {
    load_w(k);
    mma::commit_copies();
  }

  float sum[height * width / 64][outputs / 16][4] = {};
  const int steps = I / channels * 3;
  for (int k = 0; k < steps;) {
    mma::await_copies<stages - 2>();
    __syncthreads();  // x is there for all, and all are done with the last u
    filter(shared);
#pragma unroll
    for (int ky = 0; ky < 3; ++ky, ++k) {
      if (ky > 0) mma::await_copies<stages - 2>();
      __syncthreads();  // u and step k are there for all; all are done with x, and step k - 1, whose stage is next
      if (ky == 0 && k + 3 < steps) load_x((k / 3 + 1) * channels);
      if (k + stages - 1 < steps) load_w(k + stages - 1);
      mma::commit_copies();  // an empty group, too, keeps the count
      const uint32_t from = w + k % stages * stage_bytes;
#pragma unroll
      for (int kx = 0; kx < 3; ++kx) {
        uint32_t left[2][4], right[outputs / 32][4];
        for (int i = 0; i < 2; ++i) {
          const int r = 2 * (warp % 4 * 4 + i * 2 + lane / 8 % 2) + ky, c = 2 * (lane % 8) + kx;
          mma::load_matrices(left[i], u + place_half(row_of<u_pairs>(r, c), lane / 16));
        }
        for (int j = 0; j < outputs / 32; ++j) {
          const int output = warp / 4 * (outputs / 2) + j * 16 + lane / 16 * 8 + lane % 8;
          mma::load_matrices(right[j], from + place_half(kx * outputs + output, lane / 8 % 2));
        }
        for (int i = 0; i < 2; ++i)
          for (int j = 0; j < outputs / 16; ++j)
            mma::multiply(sum[i][j], left[i], right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]);
      }
    }
  }
  __syncthreads();  // u and x become the tile of y
  store_tile<height * width, outputs>(p, a, o0, sum, shared, [&](int pixel) {
    const int y = y0 + pixel / width, x = x0 + pixel % width;
    return y < H && x < W ? (n * H + y) * W + x : -1;
  });
}

}  // namespace firn::kernels

using namespace firn::kernels;
FIRN_KERNEL(ConvDown);
#endif
