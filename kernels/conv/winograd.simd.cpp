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
// Accuracy. a = 5/8 and b = 3/2 keep what is added near one in size: against double precision a relative RMS error of
// 1.9e-6, where direct sums in f32 have 4e-7; the points 1 and 2 of the literature lose 2.2 times as much.
#include "kernels/conv/winograd_gradient.h"
#include "kernels/conv/winograd_walk.h"

namespace firn::kernels::FIRN_TARGET {

namespace {

// ---- Transforms of one dimension

constexpr float a1 = 0.625f, a2 = a1 * a1, a3 = a2 * a1, b1 = 1.5f, b2 = b1 * b1, b3 = b2 * b1;
constexpr float at_0 = 1 / (a2 * b2), at_a = 1 / (2 * a2 * (a2 - b2)), at_b = 1 / (2 * b2 * (b2 - a2));  // 1 / M'

// v = B^T d
struct Inputs {
  static constexpr int from = 6, to = 6, step = 4;
  static void apply(const Vector (&d)[6], Vector (&v)[6]) {
    const Vector even_a = d[4] - b2 * d[2], odd_a = a1 * (d[3] - b2 * d[1]);
    const Vector even_b = d[4] - a2 * d[2], odd_b = b1 * (d[3] - a2 * d[1]);
    v[0] = a2 * b2 * d[0] - (a2 + b2) * d[2] + d[4];
    v[1] = even_a + odd_a;
    v[2] = even_a - odd_a;
    v[3] = even_b + odd_b;
    v[4] = even_b - odd_b;
    v[5] = a2 * b2 * d[1] - (a2 + b2) * d[3] + d[5];
  }
};

// v = G g of three taps, the weights, or of four, a tile's gradient.
template <int taps>
struct Taps {
  static constexpr int from = taps, to = 6, step = 4;
  static void apply(const Vector (&g)[taps], Vector (&v)[6]) {
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
};

// y = A^T m: four outputs of a tile, or three taps.
template <int outputs>
struct Interpolate {
  static constexpr int from = 6, to = outputs;
  static void apply(const Vector (&m)[6], Vector (&y)[outputs]) {
    const Vector sum_a = m[1] + m[2], difference_a = m[1] - m[2], sum_b = m[3] + m[4], difference_b = m[3] - m[4];
    y[0] = m[0] + sum_a + sum_b;
    y[1] = a1 * difference_a + b1 * difference_b;
    y[2] = a2 * sum_a + b2 * sum_b;
    if constexpr (outputs == 4) y[3] = a3 * difference_a + b3 * difference_b;
    y[outputs - 1] += m[5];
  }
};

// ---- Products: at each point one.

constexpr Products<6> kLine = {{{.big = 0, .taps = 0, .small = 0},
                                {.big = 1, .taps = 1, .small = 1},
                                {.big = 2, .taps = 2, .small = 2},
                                {.big = 3, .taps = 3, .small = 3},
                                {.big = 4, .taps = 4, .small = 4},
                                {.big = 5, .taps = 5, .small = 5}}};
constexpr auto kProducts = squared(kLine, 6, 6, 6);

// Tiles of a block: groups of 14 or 13 whose V and M of few channels stay in the second cache, or that read U seldom.
auto walk(const Winograd& p, int threads) {
  const int64_t block_tiles = most(p.K, p.C) <= 128 ? 42 : 65, panel_tiles = 130;
  return Walk<Inputs, Taps<3>, 36, false, Blocks>(p, block_tiles, panel_tiles, threads);
}

int64_t scratch_size(const Winograd& p, int threads) { return walk(p, threads).floats(); }

// ---- Of either type

void convolve(DType type, const Winograd& p, const WinogradTaps& taps, const Epilogue<float>& e, void* y, const void* x,
              const float* s, const float* w, float* scratch, int threads) {
  const auto of = [&]<class T>(T* to) {
    walk(p, threads)
        .run(kProducts, taps, inputs<Inputs, T>(p, x, s), w, scratch,
             [&](const Block& block, const Sums& sums) { finish_block<Interpolate<4>>(p, e, to, block, sums); });
  };
  type == DType::bf16 ? of(static_cast<bf16*>(y)) : of(static_cast<float*>(y));
}

void weight_gradient(DType type, const Winograd& p, const WinogradTaps& taps, bool over_x, float* dw, const void* x,
                     const void* gy, float* scratch, int threads) {
  const auto of = [&](auto tag) {
    gradient_of_tiles<Inputs, Taps<4>, Interpolate<3>, decltype(tag)>(p, kProducts, taps, over_x, dw, x, gy, scratch,
                                                                      threads);
  };
  type == DType::bf16 ? of(bf16()) : of(0.0f);
}

}  // namespace

extern const WinogradKernels winograd = {scratch_size, convolve, gradient_scratch<Inputs, Taps<4>>, weight_gradient};

}  // namespace firn::kernels::FIRN_TARGET
