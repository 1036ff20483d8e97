// Up-sample by zero insertion, pad or crop, filter, keep every down-th sample (Karras et al. 2019), NHWC.
#pragma once
#include "kernels/core/run.h"
#include "kernels/ops/epilogue.h"

namespace firn::kernels {

constexpr int kMaxTaps = 12;

// y[n,oy,ox,c] = gain sum over (i,j) of f[i] f[j] u[n, oy down + i - pad_y, ox down + j - pad_x, c], where u is x with
// up - 1 zeros after each sample. A true convolution reverses the taps first; the caller does that.
template <class T>
struct Upfirdn2d {
  static constexpr const char* name = "upfirdn2d";
  T* y;
  const T* x;
  int64_t N, H, W, C, OH, OW;
  int up, down, pad_x, pad_y, taps;
  acc_t<T> gain;
  acc_t<T> f[kMaxTaps];
  FIRN_DEVICE int64_t blocks() const { return N * OH; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// The same for four taps and whole vectors of 8 channels: a thread walks down a column of pixels, and each of its rows
// of x is summed along x once for all rows of y that it belongs to. (up, down) is (1,1), (2,1) or (1,2).
template <class T, int up, int down, class Then = NoEpilogue>
struct Upfirdn2dVectors {
  static constexpr const char* name = std::is_same_v<Then, NoEpilogue> ? "upfirdn2d_vectors" : "upfirdn2d_bias_act";
  Upfirdn2d<T> k;
  Then then = {};
  static constexpr int rows = 8, columns = 256;  // of a block; a column is 8 channels of a pixel
  FIRN_DEVICE int strips() const { return int((k.OH + rows - 1) / rows); }
  FIRN_DEVICE int chunks() const { return int((k.OW * (k.C / 8) + columns - 1) / columns); }
  FIRN_DEVICE int64_t blocks() const { return k.N * strips() * chunks(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// The same on the CPU, for any taps: a row of y sums rows of x along y once for all of its pixels, then along x.
template <class T, class Then = NoEpilogue>
struct Upfirdn2dRows {
  static constexpr const char* name = std::is_same_v<Then, NoEpilogue> ? "upfirdn2d" : "upfirdn2d_bias_act";
  static constexpr bool cpu_only = true;
  Upfirdn2d<T> k;
  Then then = {};
  int64_t blocks() const { return k.blocks(); }
  template <class Team>
  void operator()(Team t) const;
};

// Whether Upfirdn2dVectors computes it: a kind that it knows, and all accesses of 16 bytes aligned.
template <class T>
bool has_vectors(const Upfirdn2d<T>& k) {
  const bool known = (k.up == 1 && (k.down == 1 || k.down == 2)) || (k.up == 2 && k.down == 1);
  const auto aligned = [](const T* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  return known && k.taps == 4 && k.C % 8 == 0 && aligned(k.x) && aligned(k.y);
}

}  // namespace firn::kernels
