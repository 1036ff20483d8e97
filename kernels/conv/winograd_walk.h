// How a Winograd convolution walks over its tiles: blocks of them, or panels of output channels. The trade-off:
// transformed weights are four times as large as weights, and to write and read them takes as long as the products of
// 64 tiles; made panel by panel in the second cache they are stored nowhere, but each panel reads V from the third.
#pragma once
#include "kernels/conv/winograd_tiles.h"

namespace firn::kernels::FIRN_TARGET {

namespace {

// Tiles that are multiplied at once. The first `above` belong to another block: of them this one needs only what its
// own take as tiles below.
struct Block {
  int64_t start, tiles, above = 0;
};

// Groups of R tiles, the last of which may lack some.
struct Groups {
  int64_t count, R;
  explicit Groups(int64_t tiles) : count(parts_of(tiles, kMostRows)), R(parts_of(tiles, count)) {}
  int64_t tiles() const { return count * R; }
  // Where channel k of a tile lies in a plane of V.
  int64_t place(int64_t tile, int64_t k, int64_t K) const { return (tile / R * K + k) * R + tile % R * kLanes; }
};

// Tiles that do not depend on each other. What comes out does not depend on how they are cut.
struct Blocks {
  static constexpr bool independent = true;
  int64_t total, count;
  Groups groups;
  Blocks(const Winograd& p, int64_t most_tiles, int threads)
      : total(p.tiles()), groups(parts_of(total, parts_of(parts_of(total, most_tiles), threads) * threads)) {
    count = parts_of(total, groups.tiles());
  }
  Block block(int64_t i) const { return {i * groups.tiles(), least(groups.tiles(), total - i * groups.tiles())}; }
  int64_t slots() const { return groups.tiles(); }  // tiles that V and M have room for
};

// M[m][tile][channel] of so many channels from c on, tiles `row` floats apart.
struct Sums {
  float* M;
  int64_t plane, row, c, channels;
};

// From the big image to the small one.
template <class ToSmall, class T>
void finish_block(const Winograd& p, const Epilogue<float>& e, T* y, const Block& block, const Sums& sums) {
  for (int64_t t = 0; t < block.tiles; ++t)
    for (int64_t c = 0; c < sums.channels; c += kLanes)
      finish_tile<ToSmall>(p, e, y, Tile(p, block.start + t), sums.c + c, sums.M + t * sums.row + c, sums.plane);
}

// Panels pay for few tiles, and up to many where there are enough of them for every thread.
bool by_panels(const Winograd& p) {
  constexpr int64_t few = 64, many = 512, wide = 256;
  return p.tiles() <= few || (p.tiles() <= many && p.C >= wide);
}

// One direction of a convolution: F transforms what is read, Taps the weights, and their products make m_planes sums.
template <class F, class Taps, int m_planes, bool to_big, class Cut>
class Walk {
 public:
  // At most so many tiles in a block: each thread has V and M of one, in its second cache or, of many channels, the
  // third; or all threads share V, and a panel's M lies in the second.
  Walk(const Winograd& p, int64_t block_tiles, int64_t panel_tiles, int threads)
      : p_(p),
        panels_(by_panels(p)),
        threads_(threads),
        cut_(p, panels_ ? panel_tiles : block_tiles, panels_ ? 1 : threads) {}

  int64_t floats() const {
    return panels_ ? v_floats() + workers() * own_floats() : u_floats() + threads_ * (v_floats() + m_floats());
  }

  const Cut& cut() const { return cut_; }
  // finish(block, sums) takes the sums of a block, of all channels or of some.
  template <class T, int n, class Finish>
  void run(const Products<n>& products, const WinogradTaps& taps, const Image<F, T>& image, const float* w,
           float* scratch, const Finish& finish) const {
    panels_ ? run_panels(products, taps, image, w, scratch, finish)
            : run_blocks(products, taps, image, w, scratch, finish);
  }

 private:
  static constexpr int64_t kChunk = 128;  // channels of U at once in the second cache

  int64_t K() const { return whole_vectors(p_.K); }
  int64_t C() const { return whole_vectors(p_.C); }
  int64_t v_plane() const { return cut_.slots() * K() + kSkew; }
  int64_t m_plane() const { return cut_.slots() * (panels_ ? kPanel : C()) + kSkew; }
  int64_t u_plane() const { return panels_ ? kChunk * kPanel + kSkew : K() * C(); }
  int64_t v_floats() const { return F::to * F::to * v_plane(); }
  int64_t m_floats() const { return m_planes * m_plane(); }
  int64_t u_floats() const { return 36 * u_plane(); }
  int64_t own_floats() const { return u_floats() + m_floats(); }
  int64_t panels() const { return parts_of(C(), kPanel); }
  // Of a block's groups, where there are fewer panels than threads.
  int64_t parts() const { return Cut::independent ? least(cut_.groups.count, parts_of(threads_, panels())) : 1; }
  int64_t workers() const { return least(threads_, panels() * parts()); }

  template <class T>
  void transform(const Image<F, T>& image, const Block& block, int64_t t, float* V) const {
    image.transform(Tile(p_, block.start + t), V, v_plane(), [&](int64_t k) { return cut_.groups.place(t, k, K()); });
  }

  // U first, then blocks, each by a thread.
  template <class T, int n, class Finish>
  void run_blocks(const Products<n>& products, const WinogradTaps& taps, const Image<F, T>& image, const float* w,
                  float* scratch, const Finish& finish) const {
    float *const U = scratch, *const of_threads = U + u_floats();
#pragma omp parallel num_threads(threads_)
    {
#pragma omp for schedule(static)
      for (int64_t c = 0; c < C(); c += kLanes) {
        const int64_t panel = c / kPanel * kPanel, width = least(kPanel, C() - panel);
        transform_taps<Taps>(p_, taps, w, 0, K(), c, U + panel * K() + (c - panel), width, u_plane());
      }
      float* const V = of_threads + omp_get_thread_num() * (v_floats() + m_floats());
      float* const M = V + v_floats();
#pragma omp for schedule(static, 1)
      for (int64_t i = 0; i < cut_.count; ++i) {
        const Block block = cut_.block(i);
        for (int64_t t = 0; t < block.tiles; ++t) transform(image, block, t, V);
        multiply_block(products, block, V, U, M);
        finish(block, Sums{M, m_plane(), C(), 0, p_.C});
      }
    }
  }

  template <int n>
  void multiply_block(const Products<n>& products, const Block& block, const float* V, const float* U, float* M) const {
    const int64_t K = this->K(), C = this->C(), R = cut_.groups.R, groups = parts_of(block.tiles, R);
    for (const Product* first = products.begin(); first != products.end();) {
      const Product* end = first + 1;
      while (end != products.end() && end->taps == first->taps) ++end;
      for (int64_t c = 0; c < C; c += kPanel) {
        const int64_t width = least(kPanel, C - c), calls = groups * (end - first), step = parts_of(width * 4, calls);
        const Multiply product = width == kPanel ? multiplication_of<2>(R) : multiplication_of<1>(R);
        const float* const panel = U + first->taps * u_plane() + c * K;
        const bool last = c + kPanel >= C && end == products.end();
        const char* next = reinterpret_cast<const char*>(last ? U : panel + width * K);
        for (const Product* q = first; q != end; ++q) {
          const float* const v = V + (to_big ? q->small : q->big) * v_plane();
          float* const m = M + (to_big ? q->big : q->small) * m_plane() + c;
          for (int64_t g = q->below ? 0 : block.above / R; g < groups; ++g, next += step * K)
            product(K, v + g * R * K, panel, m + g * R * C, C, !to_big && q->same_small, next, step);
        }
      }
      first = end;
    }
  }

  // Block by block: V by all threads, then panels, each by a thread.
  template <class T, int n, class Finish>
  void run_panels(const Products<n>& products, const WinogradTaps& taps, const Image<F, T>& image, const float* w,
                  float* scratch, const Finish& finish) const {
    float* const V = scratch;
    const int64_t R = cut_.groups.R, parts = this->parts();
#pragma omp parallel num_threads(threads_)
    for (int64_t i = 0; i < cut_.count; ++i) {
      const Block block = cut_.block(i);
      const int64_t groups = parts_of(block.tiles, R);
#pragma omp for schedule(static)
      for (int64_t t = 0; t < block.tiles; ++t) transform(image, block, t, V);
#pragma omp for schedule(static, 1)
      for (int64_t j = 0; j < panels() * parts; ++j) {
        float* const U = V + v_floats() + omp_get_thread_num() * own_floats();
        float* const M = U + u_floats();
        const int64_t c = j / parts * kPanel, width = least(kPanel, C() - c), begin = j % parts * groups / parts,
                      end = (j % parts + 1) * groups / parts, start = begin * R;
        multiply_panel(products, taps, w, block, c, begin, end, V, U, M);
        const Block part = {block.start + start, least(block.tiles, end * R) - start, block.above};
        finish(part, Sums{M + start * width, m_plane(), width, c, least(width, p_.C - c)});
      }
    }
  }

  // Groups from `begin` until `end` with the panel from c on.
  template <int n>
  void multiply_panel(const Products<n>& products, const WinogradTaps& taps, const float* w, const Block& block,
                      int64_t c, int64_t begin, int64_t end, const float* V, float* U, float* M) const {
    const int64_t K = this->K(), R = cut_.groups.R, width = least(kPanel, C() - c);
    const Multiply product = width == kPanel ? multiplication_of<2>(R) : multiplication_of<1>(R);
    for (int64_t first = 0; first < K; first += kChunk) {
      const int64_t count = least(kChunk, K - first);
      for (int64_t j = 0; j < width; j += kLanes)
        transform_taps<Taps>(p_, taps, w, first, first + count, c + j, U + j, width, u_plane());
      for (const Product& q : products) {
        const float* v = V + (to_big ? q.small : q.big) * v_plane() + first * R;
        float* const m = M + (to_big ? q.big : q.small) * m_plane();
        for (int64_t g = most(begin, q.below ? 0 : block.above / R); g < end; ++g) {
          const float* const at = v + g * R * K;
          product(count, at, U + q.taps * u_plane(), m + g * R * width, width, first > 0 || (!to_big && q.same_small),
                  reinterpret_cast<const char*>(g + 1 < end ? at + R * K : v + v_plane()), R * 4);
        }
      }
    }
  }

  const Winograd& p_;
  const bool panels_;
  const int threads_;
  const Cut cut_;
};

}  // namespace

}  // namespace firn::kernels::FIRN_TARGET
