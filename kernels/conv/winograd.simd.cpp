// Mathematics. The product of polynomials of degrees 3 and 2 has six coefficients, so six of its values determine it:
// those at 0, +-a, +-b, and its leading coefficient, "the value at infinity". To multiply is to evaluate both factors
// there, to multiply six pairs of numbers, and to interpolate. A correlation is the transpose of such a product:
// evaluation and interpolation change places, and four outputs y of six inputs d and three taps g are
//     y = A^T [(G g) * (B^T d)].
// With M(x) = x (x^2 - a^2) (x^2 - b^2): row f of G evaluates the taps at the point f and divides by M'(f); row f of
// B^T holds the coefficients of M(x) / (x - f); row k of A^T the powers f^k; at infinity G and A^T take the last tap
// and output, and B^T the coefficients of M. In two dimensions each acts on columns, then on rows: 36 products make a
// tile of 4x4 outputs, which directly takes 144. (Winograd 1980; Lavin & Gray 2016, F(4x4,3x3).)
//
// The weight gradient is a correlation as well: three outputs, the taps, of the same six inputs and four "taps", the
// gradient of a tile. Again six points, so the same B^T, with four columns in G and three rows in A^T.
//
// Summed over channels, the products at a point p are one of matrices, M[p] = V[p] U[p]: tiles x channels times
// channels x outputs. All time should go there, so the transforms write what products read, in their order:
//     V[p][group][k / lanes][R][lanes]   R tiles are a group, the rows of one call of the microkernel
//     U[p][panel][k][2 lanes]            two vectors of outputs are a panel, its columns
//     M[p][tile][output]                 what the last transform reads
// and R x 2 vectors of sums stay in registers while k runs.
//
// Accuracy. a = 5/8 and b = 3/2 keep what is added near one in size: against double precision a relative RMS error of
// 1.9e-6, where direct sums in f32 have 4e-7; the points 1 and 2 of the literature lose 2.2 times as much.
#include "kernels/conv/winograd.h"

#include <omp.h>

#include "kernels/core/simd.h"

namespace firn::kernels::FIRN_TARGET {

namespace {

constexpr int kPoints = 36, kPanel = 2 * kLanes;
constexpr int kMostRows = kRegisters == 32 ? (kLanes == 16 ? 14 : 12) : 6;  // with two vectors each, and what they take
constexpr int64_t kSkew = 80;  // floats between planes: points of a tile must not share a set of the cache
constexpr int64_t kMostChannels = 8192;

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t parts_of(int64_t total, int64_t part) { return (total + part - 1) / part; }

// ---- Transforms of one dimension

constexpr float a1 = 0.625f, a2 = a1 * a1, a3 = a2 * a1, b1 = 1.5f, b2 = b1 * b1, b3 = b2 * b1;
constexpr float at_0 = 1 / (a2 * b2), at_a = 1 / (2 * a2 * (a2 - b2)), at_b = 1 / (2 * b2 * (b2 - a2));  // 1 / M'

// v = B^T d
inline void evaluate(const Vector (&d)[6], Vector (&v)[6]) {
  const Vector even_a = d[4] - b2 * d[2], odd_a = a1 * (d[3] - b2 * d[1]);
  const Vector even_b = d[4] - a2 * d[2], odd_b = b1 * (d[3] - a2 * d[1]);
  v[0] = a2 * b2 * d[0] - (a2 + b2) * d[2] + d[4];
  v[1] = even_a + odd_a;
  v[2] = even_a - odd_a;
  v[3] = even_b + odd_b;
  v[4] = even_b - odd_b;
  v[5] = a2 * b2 * d[1] - (a2 + b2) * d[3] + d[5];
}

// v = G g of three taps, the weights, or of four, a tile's gradient.
template <int taps>
inline void evaluate(const Vector (&g)[taps], Vector (&v)[6]) {
  const Vector even_a = at_a * g[0] + at_a * a2 * g[2], even_b = at_b * g[0] + at_b * b2 * g[2];
  Vector odd_a = at_a * a1 * g[1], odd_b = at_b * b1 * g[1];
  if constexpr (taps == 4) {
    odd_a += at_a * a3 * g[3];
    odd_b += at_b * b3 * g[3];
  }
  v[0] = at_0 * g[0];
  v[1] = even_a + odd_a;
  v[2] = even_a - odd_a;
  v[3] = even_b + odd_b;
  v[4] = even_b - odd_b;
  v[5] = g[taps - 1];
}

// y = A^T m: four outputs of a tile, or three taps.
template <int outputs>
inline void interpolate(const Vector (&m)[6], Vector (&y)[outputs]) {
  const Vector sum_a = m[1] + m[2], difference_a = m[1] - m[2], sum_b = m[3] + m[4], difference_b = m[3] - m[4];
  y[0] = m[0] + sum_a + sum_b;
  y[1] = a1 * difference_a + b1 * difference_b;
  y[2] = a2 * sum_a + b2 * sum_b;
  if constexpr (outputs == 4) y[3] = a3 * difference_a + b3 * difference_b;
  y[outputs - 1] += m[5];
}

// ---- Of two: columns, then rows. Of a vector of channels, at all 36 points.

template <int side, class Read, class Write>
inline void evaluate_square(const Read& read, const Write& write) {
  Vector half[6][side];
#pragma GCC unroll 6
  for (int j = 0; j < side; ++j) {
    Vector d[side], v[6];
#pragma GCC unroll 6
    for (int i = 0; i < side; ++i) d[i] = read(i, j);
    evaluate(d, v);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) half[i][j] = v[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) {
    Vector v[6];
    evaluate(half[i], v);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) write(i * 6 + j, v[j]);
  }
}

template <int outputs, class Read>
inline void interpolate_square(const Read& read, Vector (&y)[outputs][outputs]) {
  Vector half[outputs][6];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    Vector m[6], v[outputs];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) m[i] = read(i * 6 + j);
    interpolate(m, v);
#pragma GCC unroll 4
    for (int i = 0; i < outputs; ++i) half[i][j] = v[i];
  }
#pragma GCC unroll 4
  for (int i = 0; i < outputs; ++i) interpolate(half[i], y[i]);
}

// ---- Of tiles

struct Tile {
  int64_t n, y, x;  // sample and first output pixel
  Tile(const Winograd& p, int64_t tile) {
    const int64_t across = parts_of(p.OW, 4), down = parts_of(p.OH, 4);
    n = tile / (across * down), y = tile / across % down * 4, x = tile % across * 4;
  }
};

alignas(64) const float kZeros[kMostChannels] = {};

// side 6: the inputs of a tile of outputs. side 4: the tile itself.
template <int side, class T>
struct Image {
  const T* data;
  int64_t H, W, C, pad_y, pad_x;
  const float* scale;  // [N,C] or null

  // Channels from c on go to out + at(c), and to the next point `plane` floats behind.
  template <class At>
  void transform(const Tile& tile, float* out, int64_t plane, const At& at) const {
    const T* pixel[side][side];
    for (int i = 0; i < side; ++i)
      for (int j = 0; j < side; ++j) {
        const int64_t y = tile.y + i - pad_y, x = tile.x + j - pad_x;
        const bool inside = y >= 0 && y < H && x >= 0 && x < W;
        pixel[i][j] = inside ? data + ((tile.n * H + y) * W + x) * C : reinterpret_cast<const T*>(kZeros);
      }
    const float* const factors = scale ? scale + tile.n * C : nullptr;
    int64_t c = 0;
    for (; c + kLanes <= C; c += kLanes) {
      const Vector factor = factors ? load(factors + c) : Vector{} + 1;
      const auto read = [&](int i, int j) {
        if (j >= side - 4) __builtin_prefetch(pixel[i][j] + c + 4 * C, 0, 2);  // for the tile to the right
        return load(pixel[i][j] + c) * factor;
      };
      float* const to = out + at(c);
      evaluate_square<side>(read, [&](int p, Vector v) { store(to + p * plane, v); });
    }
    if (c == C) return;
    const Vector factor = factors ? load_first(factors + c, C - c) : Vector{} + 1;
    float* const to = out + at(c);
    evaluate_square<side>([&](int i, int j) { return load_first(pixel[i][j] + c, C - c) * factor; },
                          [&](int p, Vector v) { store(to + p * plane, v); });
  }
};

template <class T>
Image<6, T> inputs(const Winograd& p, const void* x, const float* scale) {
  return {static_cast<const T*>(x), p.H, p.W, p.K, p.pad_y, p.pad_x, scale};
}
template <class T>
Image<4, T> outputs(const Winograd& p, const void* y) {
  return {static_cast<const T*>(y), p.OH, p.OW, p.C, 0, 0, nullptr};
}

// act(t) of kernels/ops/epilogue.h: NaN stays, since a comparison with it is false.
inline Vector activate(const Epilogue<float>& e, Vector t) {
  const Vector less = e.slope * t, u = e.gain * (t > 0 ? t : less);
  if (e.clamp < 0) return u;
  const Vector limit = Vector{} + e.clamp;
  return u > limit ? limit : u < -limit ? -limit : u;
}

// The sums of a tile's channels from c on to y, through the epilogue; m of the next point lies `plane` floats behind.
template <class T>
inline void finish_tile(const Winograd& p, const Epilogue<float>& e, T* y, const Tile& tile, int64_t c, const float* m,
                        int64_t plane) {
  Vector sum[4][4];
  const auto read = [&](int point) {
    __builtin_prefetch(m + point * plane + 3 * kLanes);
    return load(m + point * plane);
  };
  interpolate_square<4>(read, sum);
  const int64_t count = p.C - c, P = p.OH * p.OW;
  const Vector scale = e.d ? load_up_to(e.d + tile.n * p.C + c, count) : Vector{} + 1;
  const Vector bias = e.b ? load_up_to(e.b + c, count) : Vector{};
  const float* const noise = e.noise ? e.noise + (e.noise_images > 1 ? tile.n * P : 0) : nullptr;
  const float strength = noise ? *e.strength : 0;
  const auto rows = static_cast<int>(least(4, p.OH - tile.y)), columns = static_cast<int>(least(4, p.OW - tile.x));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    if (i >= rows) break;
    const int64_t first = (tile.y + i) * p.OW + tile.x;
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

// ---- Products

// m [R][2 vectors], rows `row` floats apart, = v [k / lanes][R][lanes] u [k][2 vectors]. Meanwhile `next`, which a
// later call reads of U, comes to the second cache, `step` bytes for each k.
template <int R, int vectors>
void multiply(int64_t K, const float* v, const float* u, float* m, int64_t row, const char* next, int64_t step) {
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
    for (int j = 0; j < vectors; ++j) store(m + r * row + j * kLanes, sum[r][j]);
}

using Multiply = void (*)(int64_t, const float*, const float*, float*, int64_t, const char*, int64_t);
template <int vectors, int... rows>
struct Products {
  static constexpr Multiply of[] = {multiply<rows, vectors>...};
};
template <int vectors>
Multiply product_of(int64_t rows) {
  if constexpr (kMostRows == 14)
    return Products<vectors, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14>::of[rows - 1];
  else if constexpr (kMostRows == 12)
    return Products<vectors, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12>::of[rows - 1];
  else
    return Products<vectors, 1, 2, 3, 4, 5, 6>::of[rows - 1];
}

// ---- Weights

int64_t transformed_size(int64_t K, int64_t C) { return kPoints * whole_vectors(K) * whole_vectors(C); }

// U of channels k that are no whole vector ends in zeros.
void transform_weights(int64_t K, int64_t C, const WinogradTaps& taps, const float* w, float* U) {
  const int64_t rows = whole_vectors(K), columns = whole_vectors(C), plane = rows * columns;
#pragma omp parallel for schedule(static)
  for (int64_t c = 0; c < columns; c += kLanes) {
    const int64_t panel = c / kPanel * kPanel, width = least(kPanel, columns - panel), count = C - c;
    for (int64_t k = 0; k < rows; ++k) {
      const float* const first = w + k * taps.stride_k + c * taps.stride_c;
      const auto read = [&](int i, int j) {
        const float* const tap = first + (taps.turned ? 8 - i * 3 - j : i * 3 + j) * taps.stride_tap;
        Vector g = {};
        if (k >= K) return g;
        if (taps.stride_c == 1 && count >= kLanes) {
          g = load(tap);
        } else if (count >= kLanes) {
#pragma GCC unroll 16
          for (int l = 0; l < kLanes; ++l) g[l] = tap[l * taps.stride_c];
        } else {
          for (int64_t l = 0; l < count; ++l) g[l] = tap[l * taps.stride_c];
        }
        return g * taps.gain;
      };
      float* const to = U + panel * rows + k * width + (c - panel);
      evaluate_square<3>(read, [&](int p, Vector v) { store(to + p * plane, v); });
    }
  }
}

// ---- Output and input gradient

// How tiles are cut into blocks. A block should be small, since its V and M are written and read through L2 or, with
// many channels, L3; and large, since it reads all of U. What comes out does not depend on it.
struct Blocks {
  int64_t tiles, count, rows, groups;  // tiles = rows * groups; in the last block some are missing
  Blocks(int64_t total, int64_t channels, int threads) {
    const int64_t limit = channels <= 128 ? 42 : 65;
    count = parts_of(parts_of(total, limit), threads) * threads;
    tiles = parts_of(total, count);
    groups = parts_of(tiles, kMostRows);
    rows = parts_of(tiles, groups);
    tiles = rows * groups;
    count = parts_of(total, tiles);
  }
};

struct Planes {
  int64_t v, m, floats;
  Planes(const Winograd& p, const Blocks& blocks)
      : v(blocks.tiles * whole_vectors(p.K) + kSkew),
        m(blocks.tiles * whole_vectors(p.C) + kSkew),
        floats(kPoints * (v + m)) {}
};

int64_t scratch_size(const Winograd& p, int threads) {
  return Planes(p, Blocks(p.tiles(), most(p.K, p.C), threads)).floats * threads;
}

template <class T>
void convolve(const Winograd& p, const Epilogue<float>& e, T* y, const void* x, const float* s, const float* U,
              float* scratch, int threads) {
  const int64_t K = whole_vectors(p.K), C = whole_vectors(p.C), total = p.tiles();
  const Blocks blocks(total, most(p.K, p.C), threads);
  const Planes planes(p, blocks);
  const int64_t R = blocks.rows;
  const auto image = inputs<T>(p, x, s);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
  for (int64_t block = 0; block < blocks.count; ++block) {
    float* const V = scratch + omp_get_thread_num() * planes.floats;
    float* const M = V + kPoints * planes.v;
    const int64_t first = block * blocks.tiles, n = least(total - first, blocks.tiles);
    for (int64_t t = 0; t < n; ++t)
      image.transform(Tile(p, first + t), V, planes.v, [&](int64_t k) { return (t / R * K + k) * R + t % R * kLanes; });
    for (int64_t point = 0; point < kPoints; ++point)
      for (int64_t c = 0; c < C; c += kPanel) {
        const int64_t width = least(kPanel, C - c), share = width * 4 / blocks.groups;
        const Multiply product = width == kPanel ? product_of<2>(R) : product_of<1>(R);
        const float* const panel = U + point * K * C + c * K;
        const bool last = c + kPanel >= C && point + 1 == kPoints;
        const char* const next = reinterpret_cast<const char*>(last ? U : panel + width * K);
        for (int64_t g = 0; g < blocks.groups; ++g)
          product(K, V + point * planes.v + g * R * K, panel, M + point * planes.m + g * R * C + c, C,
                  next + g * share * K, share);
      }
    for (int64_t t = 0; t < n; ++t)
      for (int64_t c = 0; c < C; c += kLanes) finish_tile(p, e, y, Tile(p, first + t), c, M + t * C + c, planes.m);
  }
}

// ---- Weight gradient

// dw[row,tap,column] = the sum over tiles of z x v: rows are the channels of one image and columns, which lie densely
// in dw, those of the other. Z[p][row / lanes][tile][lanes] and V[p][column / width][tile][width] are the transforms of
// a block of tiles; units of kUnitRows x width take their products with them and keep the sums of all points in
// G[unit][p][row][width]: small enough for the second cache, and after the last block they are interpolated from there.
constexpr int kColumnVectors = kRegisters == 32 ? 4 : 2, kRowsAtOnce = 4;
constexpr int64_t kWidth = kColumnVectors * kLanes, kUnitRows = 32;
constexpr int64_t kMostTiles = 64;  // of a block

// g [kRowsAtOnce][width] (+)= z^T v, z [tiles][lanes] of which so many columns are used, v [tiles][width]
template <bool add>
void multiply_over_tiles(int64_t tiles, const float* z, const float* v, float* g) {
  Vector sum[kRowsAtOnce][kColumnVectors];
#pragma GCC unroll 4
  for (int r = 0; r < kRowsAtOnce; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < kColumnVectors; ++j) sum[r][j] = add ? load(g + r * kWidth + j * kLanes) : Vector{};
  for (int64_t t = 0; t < tiles; ++t, z += kLanes, v += kWidth) {
    Vector b[kColumnVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kColumnVectors; ++j) b[j] = load(v + j * kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < kRowsAtOnce; ++r)
#pragma GCC unroll 4
      for (int j = 0; j < kColumnVectors; ++j) sum[r][j] += z[r] * b[j];
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRowsAtOnce; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < kColumnVectors; ++j) store(g + r * kWidth + j * kLanes, sum[r][j]);
}

// Either all threads share the blocks and one G, each with units of its own; or, of few channels, tiles are cut into
// parts by their number alone, and a part has a G of its own. So sums do not depend on the number of threads.
struct GradientPlan {
  int64_t rows, columns, units_down, units, tiles, blocks, parts, z_plane, v_plane, block_floats, g_floats;
  GradientPlan(int64_t row_channels, int64_t column_channels, int64_t total) {
    constexpr int64_t few_units = 16, most_parts = 8, most_sums = int64_t{3} << 20;  // floats
    rows = parts_of(row_channels, kUnitRows) * kUnitRows;
    columns = parts_of(column_channels, kWidth) * kWidth;
    units_down = rows / kUnitRows;
    units = units_down * (columns / kWidth);
    blocks = parts_of(total, kMostTiles);
    tiles = parts_of(total, blocks);
    g_floats = kPoints * rows * columns;
    parts = units < few_units ? most(1, least(least(most_parts, blocks), most_sums / g_floats)) : 1;
    z_plane = tiles * rows + kSkew;
    v_plane = tiles * columns + kSkew;
    block_floats = kPoints * (z_plane + v_plane);
  }
  bool shared() const { return parts == 1; }
  int64_t floats(int threads) const { return (shared() ? 1 : least(parts, threads)) * block_floats + parts * g_floats; }
};

template <int row_side, int column_side, class T>
class WeightGradient {
 public:
  WeightGradient(const Winograd& p, const WinogradTaps& taps, float* dw, const Image<row_side, T>& row_image,
                 const Image<column_side, T>& column_image, float* scratch, int threads)
      : p_(p),
        taps_(taps),
        dw_(dw),
        row_image_(row_image),
        column_image_(column_image),
        plan_(row_image.C, column_image.C, p.tiles()),
        blocks_(scratch),
        sums_(scratch + plan_.floats(threads) - plan_.parts * plan_.g_floats) {
    plan_.shared() ? share(threads) : apart(threads);
  }

 private:
  void share(int threads) {
#pragma omp parallel num_threads(threads)
    for (int64_t b = 0; b < plan_.blocks; ++b) {
      const int64_t first = b * plan_.tiles, n = least(p_.tiles() - first, plan_.tiles);
#pragma omp for schedule(static)
      for (int64_t t = 0; t < n; ++t) transform(first + t, t, blocks_);
#pragma omp for schedule(static)
      for (int64_t u = 0; u < plan_.units; ++u) {
        add(u, n, blocks_, sums_, b > 0);
        if (b + 1 == plan_.blocks) finish(u);
      }
    }
  }

  void apart(int threads) {
#pragma omp parallel num_threads(static_cast <int>(least(threads, plan_.parts)))
    {
      float* const block = blocks_ + omp_get_thread_num() * plan_.block_floats;
#pragma omp for schedule(static)
      for (int64_t part = 0; part < plan_.parts; ++part) {
        float* const sums = sums_ + part * plan_.g_floats;
        for (int64_t b = part; b < plan_.blocks; b += plan_.parts) {
          const int64_t first = b * plan_.tiles, n = least(p_.tiles() - first, plan_.tiles);
          for (int64_t t = 0; t < n; ++t) transform(first + t, t, block);
          for (int64_t u = 0; u < plan_.units; ++u) add(u, n, block, sums, b != part);
        }
      }
#pragma omp for schedule(static)
      for (int64_t u = 0; u < plan_.units; ++u) finish(u);
    }
  }

  // Of tile t in a block. Channels beyond the last are whatever was there: their sums are never read.
  void transform(int64_t tile, int64_t t, float* block) const {
    row_image_.transform(Tile(p_, tile), block, plan_.z_plane, [&](int64_t c) { return c * plan_.tiles + t * kLanes; });
    column_image_.transform(Tile(p_, tile), block + kPoints * plan_.z_plane, plan_.v_plane,
                            [&](int64_t c) { return (c / kWidth * plan_.tiles + t) * kWidth + c % kWidth; });
  }

  void add(int64_t unit, int64_t tiles, const float* block, float* sums, bool add) const {
    const int64_t first_row = unit % plan_.units_down * kUnitRows, first_column = unit / plan_.units_down * kWidth;
    const auto product = add ? multiply_over_tiles<true> : multiply_over_tiles<false>;
    const float* z = block + first_row * plan_.tiles;
    const float* v = block + kPoints * plan_.z_plane + first_column * plan_.tiles;
    float* g = sums + unit * kPoints * kUnitRows * kWidth;
    for (int point = 0; point < kPoints; ++point, z += plan_.z_plane, v += plan_.v_plane)
      for (int64_t r = 0; r < kUnitRows; r += kRowsAtOnce, g += kRowsAtOnce * kWidth)
        product(tiles, z + r / kLanes * kLanes * plan_.tiles + r % kLanes, v, g);
  }

  void finish(int64_t unit) const {
    const int64_t first_row = unit % plan_.units_down * kUnitRows, first_column = unit / plan_.units_down * kWidth;
    const int64_t end = least(kUnitRows, row_image_.C - first_row);
    const float* const g = sums_ + unit * kPoints * kUnitRows * kWidth;
    for (int64_t r = 0; r < end; ++r)
      for (int64_t c = 0; c < least(kWidth, column_image_.C - first_column); c += kLanes) {
        const auto read = [&](int point) {
          const float* const from = g + (point * kUnitRows + r) * kWidth + c;
          Vector sum = load(from);
          for (int64_t part = 1; part < plan_.parts; ++part) sum += load(from + part * plan_.g_floats);
          return sum;
        };
        Vector tap[3][3];
        interpolate_square<3>(read, tap);
        const int64_t column = first_column + c, count = column_image_.C - column;
        float* const to = dw_ + (first_row + r) * (row_side == 6 ? taps_.stride_k : taps_.stride_c) + column;
        for (int i = 0; i < 9; ++i) store_up_to(to + i * taps_.stride_tap, tap[i / 3][i % 3] * taps_.gain, count);
      }
  }

  const Winograd& p_;
  const WinogradTaps& taps_;
  float* dw_;
  const Image<row_side, T> row_image_;
  const Image<column_side, T> column_image_;
  const GradientPlan plan_;
  float *blocks_, *sums_;
};

int64_t gradient_scratch_size(const Winograd& p, bool over_x, int threads) {
  return GradientPlan(over_x ? p.C : p.K, over_x ? p.K : p.C, p.tiles()).floats(threads);
}

template <class T>
void weight_gradient(const Winograd& p, const WinogradTaps& taps, bool over_x, float* dw, const void* x, const void* gy,
                     float* scratch, int threads) {
  const auto big = inputs<T>(p, x, nullptr);
  const auto small = outputs<T>(p, gy);
  if (over_x)
    WeightGradient(p, taps, dw, small, big, scratch, threads);
  else
    WeightGradient(p, taps, dw, big, small, scratch, threads);
}

// ---- Of either type

void convolve_any(DType type, const Winograd& p, const Epilogue<float>& e, void* y, const void* x, const float* s,
                  const float* U, float* scratch, int threads) {
  if (type == DType::bf16)
    convolve(p, e, static_cast<bf16*>(y), x, s, U, scratch, threads);
  else
    convolve(p, e, static_cast<float*>(y), x, s, U, scratch, threads);
}

void weight_gradient_any(DType type, const Winograd& p, const WinogradTaps& taps, bool over_x, float* dw, const void* x,
                         const void* gy, float* scratch, int threads) {
  (type == DType::bf16 ? weight_gradient<bf16> : weight_gradient<float>)(p, taps, over_x, dw, x, gy, scratch, threads);
}

}  // namespace

extern const WinogradKernels winograd = {transformed_size, transform_weights,     scratch_size,
                                         convolve_any,     gradient_scratch_size, weight_gradient_any};

}  // namespace firn::kernels::FIRN_TARGET
