// What the Winograd convolutions of either stride (winograd.simd.cpp, winograd_stride2.simd.cpp) do with a tile:
// transforms and products. An algorithm brings its transforms of one dimension, each a struct with `from`,
// `to` and apply(), and a list of products: which value of the big image, of the taps, and of the small image make one.
// In two dimensions both act on columns, then on rows.
//
// Summed over channels, a product in the list is one of matrices, M[m] += V[v] U[u]: tiles x channels times channels x
// outputs. All time should go there, so the transforms write what products read, in their order:
//     V[v][group][k / lanes][R][lanes]   R tiles are a group, the rows of one call of the microkernel
//     U[u][panel][k][2 lanes]            two vectors of outputs are a panel, its columns
//     M[m][tile][output]                 what the last transform reads
// and R x 2 vectors of sums stay in registers while k runs.
#pragma once
#include <omp.h>

#include "kernels/conv/winograd.h"
#include "kernels/core/simd.h"

namespace firn::kernels::FIRN_TARGET {

namespace {

constexpr int kPanel = 2 * kLanes;
constexpr int kMostRows = kRegisters == 32 ? (kLanes == 16 ? 14 : 12) : 6;  // with two vectors each, and what they take
constexpr int64_t kSkew = 80;  // floats between planes: points of a tile must not share a set of the cache

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t parts_of(int64_t total, int64_t part) { return (total + part - 1) / part; }

// ---- Lists of products

struct Product {
  int big, taps, small;        // which values
  bool same_taps, same_small;  // whether one before it in the list has them
  bool below = false;          // whether the next tile down takes this value of the big image, too
};

template <int n>
struct Products {
  Product of[n];
  constexpr const Product* begin() const { return of; }
  constexpr const Product* end() const { return of + n; }
};

// Of two dimensions, ordered by taps.
template <int n>
constexpr Products<n * n> squared(const Products<n>& line, int big, int taps, int small) {
  Products<n* n> all = {};
  int count = 0;
  for (int u = 0; u < taps * taps; ++u)
    for (const Product& i : line)
      for (const Product& j : line)
        if (i.taps * taps + j.taps == u)
          all.of[count++] = {.big = i.big * big + j.big,
                             .taps = u,
                             .small = i.small * small + j.small,
                             .same_taps = i.same_taps || j.same_taps,
                             .same_small = i.same_small || j.same_small,
                             .below = i.below};
  return all;
}

// ---- Transforms of two dimensions, of a vector of channels

template <class Columns, class Rows, class Read, class Write>
[[gnu::always_inline]] inline void transform_square(const Read& read, const Write& write) {
  Vector half[Columns::to][Rows::from];
#pragma GCC unroll 10
  for (int j = 0; j < Rows::from; ++j) {
    Vector from[Columns::from], to[Columns::to];
#pragma GCC unroll 10
    for (int i = 0; i < Columns::from; ++i) from[i] = read(i, j);
    Columns::apply(from, to);
#pragma GCC unroll 10
    for (int i = 0; i < Columns::to; ++i) half[i][j] = to[i];
  }
#pragma GCC unroll 10
  for (int i = 0; i < Columns::to; ++i) {
    Vector to[Rows::to];
    Rows::apply(half[i], to);
#pragma GCC unroll 10
    for (int j = 0; j < Rows::to; ++j) write(i, j, to[j]);
  }
}
template <class F, class Read, class Write>
[[gnu::always_inline]] inline void transform_square(const Read& read, const Write& write) {
  transform_square<F, F>(read, write);
}

// ---- Of tiles

// Sample, row and column; a tile is 4x4 pixels of the small image.
struct Tile {
  int64_t n, y, x;
  Tile(const Winograd& p, int64_t tile) {
    const int64_t across = p.tiles_across(), down = p.tiles_down();
    n = tile / (across * down), y = tile / across % down, x = tile % across;
  }
};

alignas(64) const float kZeros[kMostWinogradChannels] = {};

// What F takes of an image [N,H,W,C] for a tile: from pixel F::step times the tile's row and column on, less padding.
template <class F, class T>
struct Image {
  static constexpr int planes = F::to * F::to;
  const T* data;
  int64_t H, W, C, pad_y, pad_x;
  const float* scale;  // [N,C] or null

  // Channels from c on go to out + at(c), and to the next value `plane` floats behind.
  template <class At>
  void transform(const Tile& tile, float* out, int64_t plane, const At& at) const {
    constexpr int side = F::from, step = F::step;
    const T* pixel[side][side];
    for (int i = 0; i < side; ++i)
      for (int j = 0; j < side; ++j) {
        const int64_t y = tile.y * step + i - pad_y, x = tile.x * step + j - pad_x;
        const bool inside = y >= 0 && y < H && x >= 0 && x < W;
        pixel[i][j] = inside ? data + ((tile.n * H + y) * W + x) * C : reinterpret_cast<const T*>(kZeros);
      }
    const float* const factors = scale ? scale + tile.n * C : nullptr;
    int64_t c = 0;
    for (; c + kLanes <= C; c += kLanes) {
      const Vector factor = factors ? load(factors + c) : Vector{} + 1;
      const auto read = [&](int i, int j) {
        if (j >= side - step) __builtin_prefetch(pixel[i][j] + c + step * C, 0, 2);  // for the tile to the right
        return load(pixel[i][j] + c) * factor;
      };
      float* const to = out + at(c);
      transform_square<F>(read, [&](int i, int j, Vector v) { store(to + (i * F::to + j) * plane, v); });
    }
    if (c == C) return;
    const Vector factor = factors ? load_first(factors + c, C - c) : Vector{} + 1;
    float* const to = out + at(c);
    transform_square<F>([&](int i, int j) { return load_first(pixel[i][j] + c, C - c) * factor; },
                        [&](int i, int j, Vector v) { store(to + (i * F::to + j) * plane, v); });
  }
};

// The image that is read, and for weight gradients the one that was written.
template <class F, class T>
Image<F, T> inputs(const Winograd& p, const void* x, const float* scale) {
  return {static_cast<const T*>(x), p.H, p.W, p.K, p.pad_y, p.pad_x, scale};
}
template <class F, class T>
Image<F, T> outputs(const Winograd& p, const void* y) {
  return {static_cast<const T*>(y), p.OH, p.OW, p.C, 0, 0, nullptr};
}

// act(t) of kernels/ops/epilogue.h: NaN stays, since a comparison with it is false.
inline Vector activate(const Epilogue<float>& e, Vector t) {
  const Vector less = e.slope * t, u = e.gain * (t > 0 ? t : less);
  if (e.clamp < 0) return u;
  const Vector limit = Vector{} + e.clamp;
  return u > limit ? limit : u < -limit ? -limit : u;
}

// The sums of a tile's channels from c on to y, through the epilogue; m of the next value lies `plane` floats behind.
template <class F, class T>
inline void finish_tile(const Winograd& p, const Epilogue<float>& e, T* y, const Tile& tile, int64_t c, const float* m,
                        int64_t plane) {
  static_assert(F::to == 4);
  const int64_t count = p.C - c, P = p.OH * p.OW, first_y = tile.y * 4, first_x = tile.x * 4;
  const Vector scale = e.d ? load_up_to(e.d + tile.n * p.C + c, count) : Vector{} + 1;
  const Vector bias = e.b ? load_up_to(e.b + c, count) : Vector{};
  const float* const noise = e.noise ? e.noise + (e.noise_images > 1 ? tile.n * P : 0) : nullptr;
  const float strength = noise ? *e.strength : 0;
  Vector sum[4][4];
  const auto read = [&](int i, int j) {
    const float* const from = m + (i * F::from + j) * plane;
    __builtin_prefetch(from + 3 * kLanes);
    return load(from);
  };
  transform_square<F>(read, [&](int i, int j, Vector v) { sum[i][j] = v; });
  const auto rows = static_cast<int>(least(4, p.OH - first_y)), columns = static_cast<int>(least(4, p.OW - first_x));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    if (i >= rows) break;
    const int64_t first = (first_y + i) * p.OW + first_x;
    const int64_t at = (tile.n * P + first) * p.C + c;
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      if (j >= columns) break;
      Vector t = sum[i][j] * scale + bias;
      if (noise) t += strength * noise[first + j];
      t = activate(e, t);
      T* const to = y + at + j * p.C;
      if (e.addend) {
        T rounded[kLanes];
        store(rounded, t);
        t = load(rounded) + load_up_to(static_cast<const T*>(e.addend) + at + j * p.C, count);
      }
      store_up_to(to, t, count);
    }
  }
}

// ---- Weights

// Lane j of row i becomes lane i of row j.
template <int half>
void exchange(Vector (&rows)[kLanes]) {
  Words low, high;  // lanes of two rows one behind the other
#pragma GCC unroll 16
  for (uint32_t l = 0; l < kLanes; ++l) {
    low[l] = l & half ? kLanes + l - half : l;
    high[l] = l & half ? kLanes + l : l + half;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i & half) continue;
    const Vector a = rows[i], b = rows[i + half];
    rows[i] = __builtin_shuffle(a, b, low);
    rows[i + half] = __builtin_shuffle(a, b, high);
  }
  if constexpr (half > 1) exchange<half / 2>(rows);
}

// g [tap][k][c] of kLanes x kLanes channels from k and c on, zeros for those that are not there.
inline void read_taps(const Winograd& p, const WinogradTaps& taps, const float* w, int64_t k, int64_t c,
                      float (&g)[9][kLanes][kLanes]) {
  const bool along_c = taps.stride_c == 1;
  const int64_t rows = along_c ? p.K - k : p.C - c, count = along_c ? p.C - c : p.K - k;
  const int64_t stride = along_c ? taps.stride_k : taps.stride_c;
  const float* from = w + k * taps.stride_k + c * taps.stride_c;
  for (int tap = 0; tap < 9; ++tap, from += taps.stride_tap) {
    Vector v[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      __builtin_prefetch(from + i * stride + kLanes * taps.stride_k, 0, 2);  // for the next k
      v[i] = i < rows ? load_up_to(from + i * stride, count) : Vector{};
    }
    if (!along_c) exchange<kLanes / 2>(v);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) store(g[tap][i], v[i]);
  }
}

// U of kLanes columns from c on for channels k from `first` until `end`, rows `row` floats apart. Of channels k that
// are no whole vector the rest is zero.
template <class Taps>
void transform_taps(const Winograd& p, const WinogradTaps& taps, const float* w, int64_t first, int64_t end, int64_t c,
                    float* U, int64_t row, int64_t plane) {
  // So many k, whose taps lie at `from`.
  const auto transform = [&](const float* from, int64_t stride_k, int64_t stride_tap) {
    if (taps.turned) from += 8 * stride_tap, stride_tap = -stride_tap;
    for (int i = 0; i < kLanes; ++i, from += stride_k, U += row)
      transform_square<Taps>(
          [&](int y, int x) {
            const float* const tap = from + (y * 3 + x) * stride_tap;
            __builtin_prefetch(tap + 8 * stride_k, 0, 2);
            return load(tap) * taps.gain;
          },
          [&](int y, int x, Vector v) { store(U + (y * 6 + x) * plane, v); });
  };
  for (int64_t k = first; k < end; k += kLanes) {
    if (taps.stride_c == 1 && c + kLanes <= p.C && k + kLanes <= p.K) {
      transform(w + k * taps.stride_k + c, taps.stride_k, taps.stride_tap);
    } else {
      alignas(kVectorBytes) float g[9][kLanes][kLanes];
      read_taps(p, taps, w, k, c, g);
      transform(g[0][0], kLanes, kLanes * kLanes);
    }
  }
}

// ---- Products

// m [R][2 vectors], rows `row` floats apart, (+)= v [k / lanes][R][lanes] u [k][2 vectors]. Meanwhile `next`, which a
// later call reads of U, comes to the second cache, `step` bytes for each k.
template <int R, int vectors>
void multiply(int64_t K, const float* v, const float* u, float* m, int64_t row, bool add, const char* next,
              int64_t step) {
  Vector sum[R][vectors] = {};
  for (int64_t first = 0; first < K; first += kLanes, v += R * kLanes)
    for (int k = 0; k < kLanes; ++k, u += vectors * kLanes, next += step) {
      Vector b[vectors];
      __builtin_prefetch(next, 0, 2);
#pragma GCC unroll 2
      for (int j = 0; j < vectors; ++j) b[j] = load(u + j * kLanes);
#pragma GCC unroll 14
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
        for (int j = 0; j < vectors; ++j) sum[r][j] += v[r * kLanes + k] * b[j];
    }
#pragma GCC unroll 14
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int j = 0; j < vectors; ++j) {
      float* const to = m + r * row + j * kLanes;
      store(to, add ? load(to) + sum[r][j] : sum[r][j]);
    }
}

using Multiply = void (*)(int64_t, const float*, const float*, float*, int64_t, bool, const char*, int64_t);
template <int vectors, int... rows>
struct Multiplications {
  static constexpr Multiply of[] = {multiply<rows, vectors>...};
};
template <int vectors>
Multiply multiplication_of(int64_t rows) {
  if constexpr (kMostRows == 14)
    return Multiplications<vectors, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14>::of[rows - 1];
  else if constexpr (kMostRows == 12)
    return Multiplications<vectors, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>::of[rows - 1];
  else
    return Multiplications<vectors, 1, 2, 3, 4, 5, 6>::of[rows - 1];
}

}  // namespace

}  // namespace firn::kernels::FIRN_TARGET
