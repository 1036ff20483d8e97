// The weight gradient of the Winograd convolutions of either stride, by the lists of products of winograd_tiles.h: a
// product is one of matrices here, too, whose inner index are the tiles.
#pragma once
#include "kernels/conv/winograd_tiles.h"

namespace firn::kernels::FIRN_TARGET {

namespace {

// dw[row,tap,column] = the sum over tiles of z x v: rows are the channels of one image and columns, which lie densely
// in dw, those of the other. Z[][row / lanes][tile][lanes] and V[][column / width][tile][width] are the transforms of
// a block of tiles; units of kUnitRows x width take their products with them and keep the sums of all taps in
// G[unit][u][row][width]: small enough for the second cache, and after the last block they are interpolated from there.
constexpr int kColumnVectors = kRegisters == 32 ? 4 : 2, kRowsAtOnce = 4;
constexpr int64_t kWidth = kColumnVectors * kLanes, kUnitRows = 64;
constexpr int64_t kUnitFloats = 36 * kUnitRows * kWidth;

// What later calls read, kZStep and kVStep bytes for each tile.
struct Ahead {
  const char *z, *v;
};
constexpr int64_t kZStep = 4 * kRowsAtOnce, kVStep = 4 * kWidth * kRowsAtOnce / kUnitRows;

// g [kRowsAtOnce][width] (+)= z^T v, z [tiles][lanes] of which so many columns are used, v [tiles][width]. Meanwhile
// `next` comes to the second cache.
template <bool add>
void multiply_over_tiles(int64_t tiles, const float* z, const float* v, float* g, Ahead next) {
  Vector sum[kRowsAtOnce][kColumnVectors] = {};
  if constexpr (add)
    for (int i = 0; i < kRowsAtOnce * kColumnVectors; ++i) __builtin_prefetch(g + i * kLanes, 1);
  for (int64_t t = 0; t < tiles; ++t, z += kLanes, v += kWidth, next.z += kZStep, next.v += kVStep) {
    Vector b[kColumnVectors];
    __builtin_prefetch(next.z, 0, 2);
    __builtin_prefetch(next.v, 0, 2);
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
    for (int j = 0; j < kColumnVectors; ++j) {
      float* const to = g + r * kWidth + j * kLanes;
      store(to, add ? load(to) + sum[r][j] : sum[r][j]);
    }
}

// Either all threads share the blocks and one G, each with units of its own; or, of few channels, tiles are cut into
// parts by their number alone, and a part has a G of its own. So sums do not depend on the number of threads.
struct GradientPlan {
  int64_t rows, columns, units_down, units, tiles, blocks, parts, z_plane, v_plane, z_floats, block_floats, g_floats;
  GradientPlan(int64_t row_channels, int row_planes, int64_t column_channels, int column_planes, int64_t total) {
    constexpr int64_t few_units = 16, most_parts = 8, most_sums = int64_t{3} << 20;  // floats
    rows = parts_of(row_channels, kUnitRows) * kUnitRows;
    columns = parts_of(column_channels, kWidth) * kWidth;
    units_down = rows / kUnitRows;
    units = units_down * (columns / kWidth);
    blocks = parts_of(total, units < few_units ? 64 : 128);
    tiles = parts_of(total, blocks);
    g_floats = units * kUnitFloats;
    parts = units < few_units ? most(1, least(least(most_parts, blocks), most_sums / g_floats)) : 1;
    z_plane = tiles * rows + kSkew;
    v_plane = tiles * columns + kSkew;
    z_floats = row_planes * z_plane;
    block_floats = z_floats + column_planes * v_plane;
  }
  bool shared() const { return parts == 1; }
  int64_t all_blocks(int threads) const { return (shared() ? 1 : least(parts, threads)) * block_floats; }
  // Where there is one block, a thread keeps the sums of one unit at a time.
  int64_t floats(int threads) const {
    return all_blocks(threads) + (blocks == 1 ? threads * kUnitFloats : parts * g_floats);
  }
};

// Rows are channels of the small image (over_x) or of the big one.
template <bool over_x, class ToTaps, class Rows, class Columns, int n>
class WeightGradient {
 public:
  WeightGradient(const Winograd& p, const Products<n>& products, const WinogradTaps& taps, float* dw,
                 const Rows& row_image, const Columns& column_image, float* scratch, int threads)
      : p_(p),
        products_(products),
        taps_(taps),
        dw_(dw),
        row_image_(row_image),
        column_image_(column_image),
        plan_(row_image.C, Rows::planes, column_image.C, Columns::planes, p.tiles()),
        blocks_(scratch),
        sums_(scratch + plan_.all_blocks(threads)) {
    plan_.shared() ? share(threads) : apart(threads);
  }

 private:
  void share(int threads) {
#pragma omp parallel num_threads(threads)
    for (int64_t b = 0; b < plan_.blocks; ++b) {
      const int64_t first = b * plan_.tiles, tiles = least(p_.tiles() - first, plan_.tiles);
#pragma omp for schedule(static)
      for (int64_t t = 0; t < tiles; ++t) transform(first + t, t, blocks_);
#pragma omp for schedule(static)
      for (int64_t u = 0; u < plan_.units; ++u) {
        float* const g = sums_ + (plan_.blocks == 1 ? omp_get_thread_num() : u) * kUnitFloats;
        add(u, tiles, blocks_, g, b > 0);
        if (b + 1 == plan_.blocks) finish(u, g);
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
          const int64_t first = b * plan_.tiles, tiles = least(p_.tiles() - first, plan_.tiles);
          for (int64_t t = 0; t < tiles; ++t) transform(first + t, t, block);
          for (int64_t u = 0; u < plan_.units; ++u) add(u, tiles, block, sums + u * kUnitFloats, b != part);
        }
      }
#pragma omp for schedule(static)
      for (int64_t u = 0; u < plan_.units; ++u) finish(u, sums_ + u * kUnitFloats);
    }
  }

  // Of tile t in a block. Channels beyond the last are whatever was there: their sums are never read.
  void transform(int64_t tile, int64_t t, float* block) const {
    row_image_.transform(Tile(p_, tile), block, plan_.z_plane, [&](int64_t c) { return c * plan_.tiles + t * kLanes; });
    column_image_.transform(Tile(p_, tile), block + plan_.z_floats, plan_.v_plane,
                            [&](int64_t c) { return (c / kWidth * plan_.tiles + t) * kWidth + c % kWidth; });
  }

  void add(int64_t unit, int64_t tiles, const float* block, float* g, bool again) const {
    const int64_t first_row = unit % plan_.units_down * kUnitRows, first_column = unit / plan_.units_down * kWidth;
    const int64_t rows = least(kUnitRows, row_image_.C - first_row);
    const auto z_of = [&](const Product& q) {
      return block + (over_x ? q.small : q.big) * plan_.z_plane + first_row * plan_.tiles;
    };
    const auto v_of = [&](const Product& q) {
      return block + plan_.z_floats + (over_x ? q.big : q.small) * plan_.v_plane + first_column * plan_.tiles;
    };
    for (const Product& q : products_) {
      const auto product = again || q.same_taps ? multiply_over_tiles<true> : multiply_over_tiles<false>;
      const Product& after = &q + 1 == products_.end() ? q : *(&q + 1);
      const Ahead next = {reinterpret_cast<const char*>(z_of(after)), reinterpret_cast<const char*>(v_of(after))};
      for (int64_t r = 0; r < rows; r += kRowsAtOnce) {
        const int64_t done = r / kRowsAtOnce * tiles;
        product(tiles, z_of(q) + r / kLanes * kLanes * plan_.tiles + r % kLanes, v_of(q),
                g + (q.taps * kUnitRows + r) * kWidth, {next.z + done * kZStep, next.v + done * kVStep});
      }
    }
  }

  void finish(int64_t unit, const float* g) const {
    const int64_t first_row = unit % plan_.units_down * kUnitRows, first_column = unit / plan_.units_down * kWidth;
    const int64_t end = least(kUnitRows, row_image_.C - first_row);
    for (int64_t r = 0; r < end; ++r)
      for (int64_t c = 0; c < least(kWidth, column_image_.C - first_column); c += kLanes) {
        const auto read = [&](int i, int j) {
          const float* const from = g + ((i * 6 + j) * kUnitRows + r) * kWidth + c;
          Vector sum = load(from);
          for (int64_t part = 1; part < plan_.parts; ++part) sum += load(from + part * plan_.g_floats);
          return sum;
        };
        const int64_t column = first_column + c, count = column_image_.C - column;
        float* const to = dw_ + (first_row + r) * (over_x ? taps_.stride_c : taps_.stride_k) + column;
        transform_square<ToTaps>(read, [&](int i, int j, Vector tap) {
          store_up_to(to + (i * 3 + j) * taps_.stride_tap, tap * taps_.gain, count);
        });
      }
  }

  const Winograd& p_;
  const Products<n>& products_;
  const WinogradTaps& taps_;
  float* dw_;
  const Rows row_image_;
  const Columns column_image_;
  const GradientPlan plan_;
  float *blocks_, *sums_;
};

template <class Big, class Small>
int64_t gradient_scratch(const Winograd& p, bool over_x, int threads) {
  constexpr int big = Big::to * Big::to, small = Small::to * Small::to;
  const GradientPlan plan =
      over_x ? GradientPlan(p.C, small, p.K, big, p.tiles()) : GradientPlan(p.K, big, p.C, small, p.tiles());
  return plan.floats(threads);
}

template <class Big, class Small, class ToTaps, class T, int n>
void gradient_of_tiles(const Winograd& p, const Products<n>& products, const WinogradTaps& taps, bool over_x, float* dw,
                       const void* x, const void* gy, float* scratch, int threads) {
  using X = Image<Big, T>;
  using Gy = Image<Small, T>;
  const X big = inputs<Big, T>(p, x, nullptr);
  const Gy small = outputs<Small, T>(p, gy);
  if (over_x)
    WeightGradient<true, ToTaps, Gy, X, n>(p, products, taps, dw, small, big, scratch, threads);
  else
    WeightGradient<false, ToTaps, X, Gy, n>(p, products, taps, dw, big, small, scratch, threads);
}

}  // namespace

}  // namespace firn::kernels::FIRN_TARGET
