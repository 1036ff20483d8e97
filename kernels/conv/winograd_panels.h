// Winograd convolutions whose weights are transformed while they are multiplied, and stored nowhere. Transformed
// weights are four times as large as weights: to write and read them takes as long as the products of 64 tiles. Here a
// thread has a panel of output channels to itself and makes what it needs of U, kChunk input channels at once, in its
// second cache; so U is made once for all tiles, whose V the threads share. The trade-off: V goes through the third
// cache once a panel.
#pragma once
#include "kernels/conv/winograd_tiles.h"

namespace firn::kernels::FIRN_TARGET {

namespace {

constexpr int64_t kChunk = 128;

// More tiles have their weights transformed first: then that is cheap, and each thread reads a V of its own.
bool by_panels(const Winograd& p) { return p.tiles() <= 512; }

// U[u][k][column] and M[m][tile][column] of one thread's panel; V as in winograd_tiles.h, of all threads.
struct PanelPlanes {
  int64_t K, v, u, m, v_floats, own_floats;
  PanelPlanes(const Winograd& p, int64_t tiles, int64_t v_planes, int64_t m_planes)
      : K(whole_vectors(p.K)),
        v(tiles * K + kSkew),
        u(kChunk * kPanel + kSkew),
        m(tiles * kPanel + kSkew),
        v_floats(v_planes * v),
        own_floats(36 * u + m_planes * m) {}
  int64_t floats(int threads) const { return v_floats + threads * own_floats; }
  float* U(float* scratch) const { return scratch + v_floats + omp_get_thread_num() * own_floats; }
  float* M(float* scratch) const { return U(scratch) + 36 * u; }
};

// All products of a panel, as multiply_planes.
template <class Taps, bool to_big, int n>
void multiply_panel(const Products<n>& products, const Winograd& p, const WinogradTaps& taps, const float* w,
                    const PanelPlanes& planes, int64_t R, int64_t groups, int64_t above, int64_t c, int64_t width,
                    const float* V, float* U, float* M) {
  const int64_t K = planes.K;
  const Multiply product = width == kPanel ? multiplication_of<2>(R) : multiplication_of<1>(R);
  for (int64_t first = 0; first < K; first += kChunk) {
    const int64_t count = least(kChunk, K - first);
    for (int64_t j = 0; j < width; j += kLanes)
      transform_taps<Taps>(p, taps, w, first, first + count, c + j, U + j, width, planes.u);
    for (const Product& q : products) {
      const float* v = V + (to_big ? q.small : q.big) * planes.v + first * R;
      float* const m = M + (to_big ? q.big : q.small) * planes.m;
      for (int64_t g = q.below ? 0 : above / R; g < groups; ++g) {
        const float* const at = v + g * R * K;
        product(count, at, U + q.taps * planes.u, m + g * R * width, width, first > 0 || (!to_big && q.same_small),
                reinterpret_cast<const char*>(g + 1 < groups ? at + R * K : v + planes.v), R * 4);
      }
    }
  }
}

// From the big image to the small one.
template <class Big, class Taps, class ToSmall, class T, int n>
void convolve_panels(const Winograd& p, const Products<n>& products, int64_t limit, const WinogradTaps& taps,
                     const Epilogue<float>& e, T* y, const void* x, const float* s, const float* w, float* scratch,
                     int threads) {
  const Blocks blocks(p.tiles(), limit, 1);
  const PanelPlanes planes(p, blocks.tiles, Big::to * Big::to, ToSmall::from * ToSmall::from);
  const auto image = inputs<Big, T>(p, x, s);
  const int64_t C = whole_vectors(p.C);
#pragma omp parallel num_threads(threads)
  for (int64_t block = 0; block < blocks.count; ++block) {
    float *const V = scratch, *const M = planes.M(scratch);
    const int64_t first = block * blocks.tiles, tiles = least(p.tiles() - first, blocks.tiles);
#pragma omp for schedule(static)
    for (int64_t t = 0; t < tiles; ++t)
      image.transform(Tile(p, first + t), V, planes.v,
                      [&](int64_t k) { return place_in_groups(t, blocks.rows, k, planes.K); });
#pragma omp for schedule(static)
    for (int64_t c = 0; c < C; c += kPanel) {
      const int64_t width = least(kPanel, C - c);
      multiply_panel<Taps, false>(products, p, taps, w, planes, blocks.rows, blocks.groups, 0, c, width, V,
                                  planes.U(scratch), M);
      for (int64_t t = 0; t < tiles; ++t)
        for (int64_t j = 0; j < width; j += kLanes)
          finish_tile<ToSmall>(p, e, y, Tile(p, first + t), c + j, M + t * width + j, planes.m);
    }
  }
}

}  // namespace

}  // namespace firn::kernels::FIRN_TARGET
