// Power iteration for the largest singular value of each of many matrices (Miyato et al. 2018, arXiv 1802.05957,
// algorithm 1): two passes over all matrices, in one launch each, and one over the vectors. Partial results cross
// blocks, for which a launch has no order, so the passes are launches of their own.
#pragma once
#include <vector>

#include "kernels/core/run.h"

namespace firn::kernels {

constexpr int kSpectralLayers = 256;

// w [O,R] row-major. From u [O]: v = l2n(u w) [R], new_u = l2n(w v) [O], sigma = new_u w v, with l2n(x) = x / (|x| +
// eps). `kept` is where new_u is copied to, or null.
template <class A>
struct SpectralLayer {
  const A* w;
  const A* u;
  A* new_u;
  A* v;
  A* sigma;
  A* kept;
  int64_t O, R;
  int64_t first_block = 0;  // of the launch
};

template <class A>
void power_iteration(const Stream&, std::vector<SpectralLayer<A>> layers, int iterations, double eps = 1e-12);

template <class A>
struct SpectralTable {
  SpectralLayer<A> layers[kSpectralLayers];
  int count;
  int64_t blocks;
  bool cuda;  // how a pass is cut depends on the kind of device
};

// v = u w; a block has a strip of columns, of all rows.
template <class A>
struct SpectralColumns {
  static constexpr const char* name = "spectral_columns";
  SpectralTable<A> table;
  // A GPU shares the rows of a strip among its threads; a processor wants strips as long as leave both cores work.
  static FIRN_DEVICE int64_t columns(bool cuda, int64_t O) { return cuda ? 32 : 512 + (1 << 19) / O / 64 * 64; }
  static int64_t blocks_for(bool cuda, const SpectralLayer<A>& l) {
    return (l.R + columns(cuda, l.O) - 1) / columns(cuda, l.O);
  }
  FIRN_DEVICE int64_t blocks() const { return table.blocks; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// new_u = w v; a block has a few rows.
template <class A>
struct SpectralRows {
  static constexpr const char* name = "spectral_rows";
  SpectralTable<A> table;
  static FIRN_DEVICE int64_t rows(bool cuda, int64_t R) { return 1 + (cuda ? 2048 : 1 << 16) / R; }
  static int64_t blocks_for(bool cuda, const SpectralLayer<A>& l) {
    return (l.O + rows(cuda, l.R) - 1) / rows(cuda, l.R);
  }
  FIRN_DEVICE int64_t blocks() const { return table.blocks; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// Both become unit vectors, and sigma is known. A block has a layer.
template <class A>
struct SpectralNorms {
  static constexpr const char* name = "spectral_norms";
  SpectralTable<A> table;
  A eps;
  static int64_t blocks_for(bool, const SpectralLayer<A>&) { return 1; }
  FIRN_DEVICE int64_t blocks() const { return table.blocks; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
