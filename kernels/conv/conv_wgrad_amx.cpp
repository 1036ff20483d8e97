// dW[o,tap,i] = sum over images n and pixels p of small[n,p,o] big[n,stride p + tap,i]: for each tap a product of
// matrices whose inner index is (pixel, image). A tile multiplies *pairs* of inner indices; pairing two images, not two
// pixels, keeps every pair whole under every tap's shift, so one packed copy of each operand serves all taps.
#include "kernels/conv/conv_wgrad_amx.h"

#include <algorithm>
#include <cstring>

#include "kernels/device/memory.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#include <omp.h>
#define FIRN_AMX 1
#define FIRN_AMX_TARGET __attribute__((target("amx-tile,amx-bf16,avx512f")))
#endif

namespace firn::kernels {

#ifdef FIRN_AMX

namespace {

constexpr int64_t kBlock = 32;      // channels of a block: two tiles
constexpr int64_t kTilePairs = 16;  // inner pairs that one tile multiplication consumes
constexpr int64_t kChunkTiles = 8;  // inner tiles that a row of taps shares: operands and sums stay in the first cache
constexpr int64_t kBandTiles = 64;  // inner tiles that a group of blocks shares: operands stay in the second cache

// Pixels in the order of the packed operands: a row is [column][image pair]; `big` splits its columns by their residue
// modulo the stride, so that the columns which one tap reads are neighbours.
struct Layout {
  const ConvProblem& p;
  int64_t pairs = p.N / 2;
  int64_t columns = (p.W + 2 * p.pad_x + p.stride - 1) / p.stride;  // of one residue
  int64_t rows = p.H + 2 * p.pad_y;
  int64_t big_row = columns * p.stride * pairs;  // pairs of a row of `big`
  int64_t small_row = p.OW * pairs;
  int64_t big_block = rows * big_row * kBlock;  // 32-bit words of a block of channels
  int64_t small_block = p.OH * small_row * kBlock;
};

uint32_t pair(bf16 a, bf16 b) { return uint32_t{a.bits} | uint32_t{b.bits} << 16; }

// [block][row][residue][column][pair][channel] of `big`, zero outside the image.
void pack_big(const Layout& l, const bf16* big, uint32_t* packed) {
  const ConvProblem& p = l.p;
  const int64_t blocks = p.I / kBlock;
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t y = 0; y < l.rows; ++y) {
      uint32_t* out = packed + b * l.big_block + y * l.big_row * kBlock;
      const int64_t iy = y - p.pad_y;
      for (int64_t r = 0; r < p.stride; ++r)
        for (int64_t c = 0; c < l.columns; ++c)
          for (int64_t n = 0; n < l.pairs; ++n, out += kBlock) {
            const int64_t ix = c * p.stride + r - p.pad_x;
            if (iy < 0 || iy >= p.H || ix < 0 || ix >= p.W) {
              std::memset(out, 0, kBlock * sizeof *out);
              continue;
            }
            const bf16* first = big + (((2 * n) * p.H + iy) * p.W + ix) * p.I + b * kBlock;
            const bf16* second = first + p.H * p.W * p.I;
            for (int64_t i = 0; i < kBlock; ++i) out[i] = pair(first[i], second[i]);
          }
    }
}

// Rows to columns of 16 x 16 words: blocks off the diagonal change places, at four sizes.
FIRN_AMX_TARGET void transpose(const uint32_t* in, int64_t in_stride, uint32_t* out) {
  typedef uint32_t Row __attribute__((vector_size(64)));
  Row r[16];
  for (int i = 0; i < 16; ++i) std::memcpy(&r[i], in + i * in_stride, sizeof r[i]);
  constexpr Row lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#pragma GCC unroll 4
  for (uint32_t size = 8; size > 0; size /= 2) {
    // Where each lane comes from: 0..15 are the first row's, 16..31 the second's.
    const Row upper = lane + (lane & size) / size * (16 - size), lower = upper + size;
#pragma GCC unroll 16
    for (uint32_t i = 0; i < 16; ++i) {
      if (i & size) continue;
      const Row a = r[i], b = r[i + size];
      r[i] = __builtin_shuffle(a, b, upper);
      r[i + size] = __builtin_shuffle(a, b, lower);
    }
  }
  std::memcpy(out, r, sizeof r);
}

// [block][tile of 16 pairs][half][channel][pair] of `small`: tiles of the left operand, channels by rows.
FIRN_AMX_TARGET void pack_small(const Layout& l, const bf16* small, uint32_t* packed) {
  const ConvProblem& p = l.p;
  const int64_t blocks = p.O / kBlock;
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t b = 0; b < blocks; ++b)
    for (int64_t y = 0; y < p.OH; ++y) {
      uint32_t* tile = packed + b * l.small_block + y * l.small_row * kBlock;
      uint32_t pairs[kTilePairs * kBlock];
      int64_t k = 0;
      for (int64_t x = 0; x < p.OW; ++x)
        for (int64_t n = 0; n < l.pairs; ++n) {
          const bf16* first = small + (((2 * n) * p.OH + y) * p.OW + x) * p.O + b * kBlock;
          const bf16* second = first + p.OH * p.OW * p.O;
          for (int64_t o = 0; o < kBlock; ++o) pairs[k * kBlock + o] = pair(first[o], second[o]);
          if (++k < kTilePairs) continue;
          transpose(pairs, kBlock, tile);
          transpose(pairs + 16, kBlock, tile + 16 * kTilePairs);
          tile += kTilePairs * kBlock;
          k = 0;
        }
    }
}

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// acc[32][32] += the tiles [t0,t1) of the rows [y0,y1) of block (small_panel, big_panel) for one tap.
FIRN_AMX_TARGET void multiply(const Layout& l, const uint32_t* small_panel, const uint32_t* big_panel, int ky, int kx,
                              int64_t y0, int64_t y1, int64_t t0, int64_t t1, float* acc) {
  const ConvProblem& p = l.p;
  constexpr int64_t acc_stride = kBlock * sizeof(float), big_stride = kBlock * sizeof(uint32_t),
                    small_stride = kTilePairs * sizeof(uint32_t);
  _tile_loadd(0, acc, acc_stride);
  _tile_loadd(1, acc + 16, acc_stride);
  _tile_loadd(2, acc + 16 * kBlock, acc_stride);
  _tile_loadd(3, acc + 16 * kBlock + 16, acc_stride);
  for (int64_t y = y0; y < y1; ++y) {
    const uint32_t* a = small_panel + (y * l.small_row + t0 * kTilePairs) * kBlock;
    const uint32_t* b = big_panel + ((y * p.stride + ky) * l.big_row +
                                     (kx % p.stride * l.columns + kx / p.stride) * l.pairs + t0 * kTilePairs) *
                                        kBlock;
    for (int64_t t = t0; t < t1; ++t, a += kTilePairs * kBlock, b += kTilePairs * kBlock) {
      _tile_loadd(4, a, small_stride);
      _tile_loadd(5, a + 16 * kTilePairs, small_stride);
      _tile_loadd(6, b, big_stride);
      _tile_loadd(7, b + 16, big_stride);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, acc, acc_stride);
  _tile_stored(1, acc + 16, acc_stride);
  _tile_stored(2, acc + 16 * kBlock, acc_stride);
  _tile_stored(3, acc + 16 * kBlock + 16, acc_stride);
}

// The inner index in bands of rows. Within a band, one row of taps runs over all chunks before the next.
FIRN_AMX_TARGET void add_band(const Layout& l, const uint32_t* small_panel, const uint32_t* big_panel, int64_t band,
                              int64_t band_end, float* acc) {
  const ConvProblem& p = l.p;
  const int64_t tiles = l.small_row / kTilePairs;  // of a row; a chunk is a part of one row, or several whole rows
  const int64_t rows = std::max<int64_t>(1, kChunkTiles / tiles);
  for (int ky = 0; ky < p.KH; ++ky)
    for (int64_t y = band; y < band_end; y += rows)
      for (int64_t t = 0; t < tiles; t += kChunkTiles)
        for (int kx = 0; kx < p.KW; ++kx)
          multiply(l, small_panel, big_panel, ky, kx, y, std::min(y + rows, band_end), t,
                   std::min(t + kChunkTiles, tiles), acc + (ky * p.KW + kx) * kBlock * kBlock);
}

// The sums [tap][o][i] of one block to where dw has them.
FIRN_AMX_TARGET void store_block(const ConvProblem& p, const float* acc, float* dw, int64_t o0, int64_t i0) {
  const int64_t taps = int64_t{p.KH} * p.KW;
  const float gain = static_cast<float>(p.gain);
  for (int64_t row = 0; row < kBlock; ++row)
    for (int64_t t = 0; t < taps; ++t) {
      const float* a = acc + t * kBlock * kBlock;
      if (p.swapped) {
        float* out = dw + ((i0 + row) * taps + t) * p.O + o0;
        for (int64_t o = 0; o < kBlock; ++o) out[o] = gain * a[o * kBlock + row];
      } else {
        float* out = dw + ((o0 + row) * taps + t) * p.I + i0;
        for (int64_t i = 0; i < kBlock; ++i) out[i] = gain * a[row * kBlock + i];
      }
    }
}

FIRN_AMX_TARGET void all_blocks(const Layout& l, const uint32_t* small, const uint32_t* big, float* dw) {
  const ConvProblem& p = l.p;
  const int64_t blocks_o = p.O / kBlock, blocks_i = p.I / kBlock;
  const int64_t band_rows = std::max<int64_t>(1, kBandTiles / (l.small_row / kTilePairs));
  // A group of blocks takes turns on each band; alone, a block keeps its sums nearer.
  const bool bands = band_rows < p.OH;
  const int64_t group_o = bands ? 2 : 1, group_i = bands ? 4 : 1;
  const int64_t groups_o = (blocks_o + group_o - 1) / group_o, groups_i = (blocks_i + group_i - 1) / group_i;
  const int64_t block_sums = p.KH * p.KW * kBlock * kBlock;
  const size_t bytes = sizeof(float) * static_cast<size_t>(group_o * group_i * block_sums);
  const int threads = omp_get_max_threads();
  auto* all_sums = static_cast<char*>(allocate({}, bytes * static_cast<size_t>(threads)));
#pragma omp parallel num_threads(threads)
  {
    const TileConfig config;
    _tile_loadconfig(&config);
    auto* sums = reinterpret_cast<float*>(all_sums + bytes * static_cast<size_t>(omp_get_thread_num()));
#pragma omp for schedule(static)
    for (int64_t q = 0; q < groups_o * groups_i; ++q) {
      const int64_t o0 = q / groups_i * group_o, o1 = std::min(o0 + group_o, blocks_o);
      const int64_t i0 = q % groups_i * group_i, i1 = std::min(i0 + group_i, blocks_i);
      const auto each_block = [&](auto&& f) {
        for (int64_t o = o0; o < o1; ++o)
          for (int64_t i = i0; i < i1; ++i) f(o, i, sums + ((o - o0) * group_i + i - i0) * block_sums);
      };
      std::memset(sums, 0, bytes);
      for (int64_t band = 0; band < p.OH; band += band_rows)
        each_block([&](int64_t o, int64_t i, float* acc) {
          add_band(l, small + o * l.small_block, big + i * l.big_block, band, std::min(band + band_rows, p.OH), acc);
        });
      each_block([&](int64_t o, int64_t i, float* acc) { store_block(p, acc, dw, o * kBlock, i * kBlock); });
    }
    _tile_release();
  }
  release({}, all_sums, bytes * static_cast<size_t>(threads));
}

}  // namespace

void conv_backward_weights_amx(const ConvProblem& p, float* dw, const bf16* big, const bf16* small) {
  const Layout l{p};
  const size_t big_bytes = sizeof(uint32_t) * static_cast<size_t>(p.I / kBlock * l.big_block);
  const size_t small_bytes = sizeof(uint32_t) * static_cast<size_t>(p.O / kBlock * l.small_block);
  auto* packed_big = static_cast<uint32_t*>(allocate({}, big_bytes));
  auto* packed_small = static_cast<uint32_t*>(allocate({}, small_bytes));
  pack_big(l, big, packed_big);
  pack_small(l, small, packed_small);
  all_blocks(l, packed_small, packed_big, dw);
  release({}, packed_big, big_bytes);
  release({}, packed_small, small_bytes);
}

#else

void conv_backward_weights_amx(const ConvProblem&, float*, const bf16*, const bf16*) {}

#endif

bool fits_amx_wgrad(const ConvProblem& p) {
  return has_amx() && p.type == DType::bf16 && p.groups == 1 && p.I % 32 == 0 && p.O % 32 == 0 && p.N % 2 == 0 &&
         p.OW * (p.N / 2) % 16 == 0;
}

}  // namespace firn::kernels
