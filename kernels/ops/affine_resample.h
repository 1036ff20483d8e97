// Images seen through affine maps at twice their resolution (Karras et al. 2020, arXiv 2006.06676, appendix B): what
// reflection, doubling by a filter of 12 taps and bilinear samples give, straight from the pixels. Trade-off: a sample
// takes up to 49 pixels anew, where the reflected and doubled image would be 36 times the original.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

// One axis of an image of `size` pixels, reflected by `before` and `behind` of them (below size), zero beyond. Doubled,
// it is u[k] = 2 sum over v of f[5 + k - 2 v] pixel[v], from k = -2 before to 2 (size + behind) - 1.
struct ResampleAxis {
  int size, before, behind;
};

template <class T>
struct AffineResample {
  static constexpr const char* name = "affine_resample";
  static constexpr int taps = 12, edge = 5;  // samples before the image, and behind it
  static constexpr int zeros = 2;            // before f, and behind it
  // y [N,2H+10,2W+10,C], x [N,H,W,C], matrix [N,2,3]: y[j,i] is the doubled image at (2 a + W - 1, 2 b + H - 1), where
  // (a, b) = matrix ((i - W - 4) / 2, (j - H - 4) / 2, 1). A position beyond the doubled image is zero.
  T* y;
  const T* x;
  const T* matrix;
  int64_t N, C;
  ResampleAxis across, down;
  T f[zeros + taps + zeros];
  FIRN_DEVICE int64_t rows() const { return 2 * (down.size + edge); }
  FIRN_DEVICE int64_t columns() const { return 2 * (across.size + edge); }
  FIRN_DEVICE int64_t blocks() const { return N * rows(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// The transpose, x from y, in two ways: on the CPU a sample of y adds to its pixels, and one thread has an image;
template <class T>
struct AffineScatter {
  static constexpr const char* name = "affine_scatter";
  static constexpr bool cpu_only = true;
  AffineResample<T> k;  // reads y, writes x
  T* x;
  FIRN_DEVICE int64_t blocks() const { return k.N; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// on a GPU a pixel looks up the samples that see it or one of its reflections. Their sums repeat without atomics.
template <class T>
struct AffineGather {
  static constexpr const char* name = "affine_gather";
  static constexpr int chunk = 256;  // pixels of a block
  AffineResample<T> k;
  T* x;
  FIRN_DEVICE int chunks() const { return (k.across.size * k.down.size + chunk - 1) / chunk; }
  FIRN_DEVICE int64_t blocks() const { return k.N * chunks(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
