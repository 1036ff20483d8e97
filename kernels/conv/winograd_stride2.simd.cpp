// Mathematics. Of a convolution of stride 2 the even pixels d[0], d[2], ... of the big image see the taps g[0] and
// g[2], the odd ones g[1] alone. In one dimension a tile, four small pixels, is therefore a correlation of five even
// pixels with two taps, which five points determine as in winograd.simd.cpp, here 0, +-a, b and infinity, and one of
// four odd pixels with one tap, which is four products as it stands:
//     y = A^T [(G g) * (B^T d)],    nine products, and 81 in two dimensions, for 144.
// Taps have six different values, since the odd pixels share g[1]: U is read once for up to 16 products. And what the
// points 0 and infinity give goes to one output alone, the first and the last, like the first and last odd product:
// they share a sum, and a tile has seven sums a dimension.
//
// The way back, from the small image to the big one, is the transpose: gd = B [(G g) * (A gy)]. Each tile adds to nine
// pixels, the last of which is the first of the next tile; only infinity reaches it there. So a tile's eight pixels
// need of the tiles above and to the left nothing but their products at infinity. The transpose by g is the weight
// gradient, G^T [(B^T d) * (A gy)].
//
// Accuracy. a = 3/4 and b = 2 are near the best of such points: against double precision relative RMS errors of 1.0e-6
// (output), 0.7e-6 (input gradient) and 0.5e-6 (weights), where direct sums in f32 have 0.9e-6, 0.3e-6 and 0.3e-6.
#include "kernels/conv/winograd_gradient.h"
#include "kernels/conv/winograd_walk.h"

namespace firn::kernels::FIRN_TARGET {

namespace {

// ---- Transforms of one dimension. M(x) = x (x^2 - a^2) (x - b); the order of points is 0, a, -a, b, infinity.

constexpr float a1 = 0.75f, a2 = a1 * a1, a3 = a2 * a1, b1 = 2, b2 = b1 * b1, b3 = b2 * b1;
constexpr float at_0 = 1 / (a2 * b1), at_a = 1 / (2 * a2 * (a1 - b1)), at_minus = -1 / (2 * a2 * (a1 + b1)),
                at_b = 1 / (b1 * (b2 - a2));  // 1 / M'

// v = B^T d: the points, then the odd pixels.
struct Big {
  static constexpr int from = 9, to = 9, step = 8;
  static void apply(const Vector (&d)[9], Vector (&v)[9]) {
    const Vector t0 = d[2] - b1 * d[0], t1 = d[4] - b1 * d[2], t2 = d[6] - b1 * d[4], t3 = d[8] - b1 * d[6];
    v[0] = t2 - a2 * t0;
    v[1] = t2 + a1 * t1;
    v[2] = t2 - a1 * t1;
    v[3] = d[6] - a2 * d[2];
    v[4] = t3 - a2 * t1;
    for (int i = 0; i < 4; ++i) v[5 + i] = d[2 * i + 1];
  }
};

// z = A gy: the points, then the pixels between the first and the last, which are themselves at 0 and infinity.
struct Small {
  static constexpr int from = 4, to = 7, step = 4;
  static void apply(const Vector (&y)[4], Vector (&z)[7]) {
    const Vector even = y[0] + a2 * y[2], odd = a1 * y[1] + a3 * y[3];
    z[0] = y[0];
    z[1] = even + odd;
    z[2] = even - odd;
    z[3] = y[0] + b1 * y[1] + b2 * y[2] + b3 * y[3];
    z[4] = y[3];
    z[5] = y[1];
    z[6] = y[2];
  }
};

// u = G g: the points, then the tap of odd pixels.
struct Taps {
  static constexpr int from = 3, to = 6;
  static void apply(const Vector (&g)[3], Vector (&u)[6]) {
    u[0] = at_0 * g[0];
    u[1] = at_a * g[0] + at_a * a1 * g[2];
    u[2] = at_minus * g[0] - at_minus * a1 * g[2];
    u[3] = at_b * g[0] + at_b * b1 * g[2];
    u[4] = g[2];
    u[5] = g[1];
  }
};

// y = A^T m
struct ToSmall {
  static constexpr int from = 7, to = 4;
  static void apply(const Vector (&m)[7], Vector (&y)[4]) {
    const Vector sum = m[1] + m[2], difference = m[1] - m[2];
    y[0] = m[0] + sum + m[3];
    y[1] = a1 * difference + b1 * m[3] + m[5];
    y[2] = a2 * sum + b2 * m[3] + m[6];
    y[3] = a3 * difference + b3 * m[3] + m[4];
  }
};

// Eight pixels of d = B m, where m[0] is infinity of the tile before and m[1 + i] value i of this one.
struct ToBig {
  static constexpr int from = 10, to = 8;
  static void apply(const Vector (&m)[10], Vector (&d)[8]) {
    const Vector t0 = -a2 * m[1], t1 = a1 * (m[2] - m[3]) - a2 * m[5], t2 = m[1] + m[2] + m[3];
    d[0] = m[0] - b1 * t0;
    d[2] = t0 - b1 * t1 - a2 * m[4];
    d[4] = t1 - b1 * t2;
    d[6] = t2 - b1 * m[5] + m[4];
    for (int i = 0; i < 4; ++i) d[2 * i + 1] = m[6 + i];
  }
};

// g = G^T u
struct ToTaps {
  static constexpr int from = 6, to = 3;
  static void apply(const Vector (&u)[6], Vector (&g)[3]) {
    const Vector v1 = at_a * u[1], v2 = at_minus * u[2], v3 = at_b * u[3];
    g[0] = at_0 * u[0] + v1 + v2 + v3;
    g[1] = u[5];
    g[2] = a1 * (v1 - v2) + b1 * v3 + u[4];
  }
};

// ---- Products

constexpr Products<9> kLine = {{{.big = 0, .taps = 0, .small = 0},
                                {.big = 1, .taps = 1, .small = 1},
                                {.big = 2, .taps = 2, .small = 2},
                                {.big = 3, .taps = 3, .small = 3},
                                {.big = 4, .taps = 4, .small = 4, .below = true},
                                {.big = 5, .taps = 5, .small = 0, .same_small = true},
                                {.big = 6, .taps = 5, .small = 5, .same_taps = true},
                                {.big = 7, .taps = 5, .small = 6, .same_taps = true},
                                {.big = 8, .taps = 5, .small = 4, .same_taps = true, .same_small = true}}};
constexpr auto kProducts = squared(kLine, 9, 6, 7);

// ---- From big to small

// Two groups of 14, whose 81 planes of V and 49 of M stay near; or five of 13, whose V all panels read from the third
// cache.
auto walk_to_small(const Winograd& p, int threads) { return Walk<Big, Taps, 49, false, Blocks>(p, 28, 65, threads); }

// ---- From small to big

// Blocks are bands of whole rows of tiles, through all images. A band that does not begin with an image has the row
// above in it, too. Behind its tiles M has one of zeros, for those that an image lacks.
struct Bands {
  static constexpr bool independent = false;
  int64_t across, down, total, rows, count;
  Groups groups;
  Bands(const Winograd& p, int64_t most_tiles, int threads)
      : across(p.tiles_across()),
        down(p.tiles_down()),
        total(p.N * down),
        rows(parts_of(total, parts_of(parts_of(total, most(1, most_tiles / across)), threads) * threads)),
        count(parts_of(total, rows)),
        groups((rows + (rows % down ? 1 : 0)) * across) {}
  Block block(int64_t i) const {
    const int64_t first = i * rows, above = first % down ? across : 0, start = first * across - above;
    return {start, least(total, first + rows) * across - start, above};
  }
  int64_t zeros() const { return groups.tiles(); }
  int64_t slots() const { return zeros() + 1; }
};

// About as many, in whole rows.
auto walk_to_big(const Winograd& p, int threads) { return Walk<Small, Taps, 81, true, Bands>(p, 64, 65, threads); }

// Of a tile behind the last row or column, the pixels that the tile before reaches: the first.
struct Last {
  static constexpr int from = 1, to = 1;
  static void apply(const Vector (&m)[1], Vector (&d)[1]) { d[0] = m[0]; }
};

// The pixels of row i of tiles in image n, of which M has the first at `tile`.
template <class Down, class T>
void finish_row(const Winograd& p, const Bands& bands, const Sums& sums, T* y, int64_t n, int64_t i, int64_t tile) {
  const auto finish_tile = [&]<class Across>(int64_t j, Across) {
    const float* m[2][2];  // this tile, the one to the left, the one above, and both
    for (int up = 0; up < 2; ++up)
      for (int left = 0; left < 2; ++left) {
        const bool inside = i - up >= 0 && i - up < bands.down && j - left >= 0 && j - left < bands.across;
        m[up][left] = sums.M + (inside ? tile + j - left - up * bands.across : bands.zeros()) * sums.row;
      }
    T* const to = y + ((n * p.OH + i * 8) * p.OW + j * 8) * p.C + sums.c;
    const auto rows = static_cast<int>(least(Down::to, p.OH - i * 8)),
               columns = static_cast<int>(least(Across::to, p.OW - j * 8));
    for (int64_t c = 0; c < sums.channels; c += kLanes) {
      const auto read = [&](int k, int l) {
        const float* const from = m[k == 0][l == 0] + c + ((k ? k - 1 : 4) * 9 + (l ? l - 1 : 4)) * sums.plane;
        __builtin_prefetch(from + 3 * kLanes);
        return load(from);
      };
      transform_square<Down, Across>(read, [&](int k, int l, Vector d) {
        if (k < rows && l < columns) store_up_to(to + (k * p.OW + l) * p.C + c, d, sums.channels - c);
      });
    }
  };
  for (int64_t j = 0; j < bands.across; ++j) finish_tile(j, ToBig());
  if (p.OW > bands.across * 8) finish_tile(bands.across, Last());
}

template <class T>
void finish_band(const Winograd& p, const Bands& bands, const Block& band, const Sums& sums, T* y) {
  for (int64_t plane = 0; plane < Big::to * Big::to; ++plane)
    for (int64_t c = 0; c < sums.channels; c += kLanes)
      store(sums.M + plane * sums.plane + bands.zeros() * sums.row + c, Vector{});
  for (int64_t tile = band.above; tile < band.tiles; tile += bands.across) {
    const int64_t row = (band.start + tile) / bands.across, n = row / bands.down, i = row % bands.down;
    finish_row<ToBig>(p, bands, sums, y, n, i, tile);
    if (i + 1 == bands.down && p.OH > bands.down * 8)
      finish_row<Last>(p, bands, sums, y, n, bands.down, tile + bands.across);
  }
}

int64_t scratch_size(const Winograd& p, int threads) {
  return p.transposed ? walk_to_big(p, threads).floats() : walk_to_small(p, threads).floats();
}

// ---- Of either type

void convolve(DType type, const Winograd& p, const WinogradTaps& taps, const Epilogue<float>& e, void* y, const void* x,
              const float* s, const float* w, float* scratch, int threads) {
  const auto of = [&]<class T>(T* to) {
    if (p.transposed) {
      const auto walk = walk_to_big(p, threads);
      walk.run(kProducts, taps, inputs<Small, T>(p, x, nullptr), w, scratch,
               [&](const Block& band, const Sums& sums) { finish_band(p, walk.cut(), band, sums, to); });
    } else {
      walk_to_small(p, threads)
          .run(kProducts, taps, inputs<Big, T>(p, x, s), w, scratch,
               [&](const Block& block, const Sums& sums) { finish_block<ToSmall>(p, e, to, block, sums); });
    }
  };
  type == DType::bf16 ? of(static_cast<bf16*>(y)) : of(static_cast<float*>(y));
}

void weight_gradient(DType type, const Winograd& p, const WinogradTaps& taps, bool over_x, float* dw, const void* x,
                     const void* gy, float* scratch, int threads) {
  const auto of = [&](auto tag) {
    gradient_of_tiles<Big, Small, ToTaps, decltype(tag)>(p, kProducts, taps, over_x, dw, x, gy, scratch, threads);
  };
  type == DType::bf16 ? of(bf16()) : of(0.0f);
}

}  // namespace

extern const WinogradKernels winograd_stride2 = {scratch_size, convolve, gradient_scratch<Big, Small>, weight_gradient};

}  // namespace firn::kernels::FIRN_TARGET
