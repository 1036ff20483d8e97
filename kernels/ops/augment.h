// Numbers of augmentation: what is drawn for each image, the matrices that follow, and how its probability adapts
// (Karras et al. 2020, arXiv 2006.06676). All of it stays on the device.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

// A number of each sample. It is drawn where the sample's gate is open, which it is with probability share * p, or
// 1 - sqrt(1 - share * p) for one of two that act together; else it is `otherwise`. N: normal, U: uniform in [0,1).
enum class Law { uniform, whole, rounded, normal, power, half_normal };
struct DrawnNumber {
  // a + (b - a) U; a + a whole number below b - a; a + (b - a) U to the nearest; a N; 2^(a N); a |N|
  Law law = Law::uniform;
  float a = 0, b = 1, otherwise = 0, share = 0;
  int gate = -1;  // numbers with the same are drawn together or not at all; below 0: always drawn
  bool of_two = false;
};

// values[n,k], from a draw's number as of kernels/ops/random.h.
template <class T>
struct DrawNumbers {
  static constexpr const char* name = "draw_numbers";
  static constexpr int most = 32;  // numbers, and gates
  T* values;                       // [N,count]
  const T* p;                      // one
  int64_t N;
  int count;
  DrawnNumber numbers[most];
  uint64_t seed, offset;
  const uint64_t* origin = nullptr;
  static constexpr int chunk = 8;  // samples
  FIRN_DEVICE int64_t blocks() const { return (N + chunk - 1) / chunk; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// Columns of values that AdaMatrices reads, in the order in which the transforms act.
namespace ada {
enum Number {
  xflip,
  rotate90,
  xint_x,
  xint_y,
  scale,
  rotate_before,
  aniso,
  rotate_behind,
  xfrac_x,
  xfrac_y,
  brightness,
  contrast,
  lumaflip,
  hue,
  saturation,
  band_gains,  // of four bands
  noise_size = band_gains + 4,
  cutout_box,  // four: centre and half size, down and across, in pixels
  numbers = cutout_box + 4
};
}

// From values [N,ada::numbers]: geometry [N,2,3], from pixels of the result to those of the image, from its centre;
// colour [N,C,C+1] of 1, 3 or 4 channels, the fourth of which (alpha) stays as it is; and the filter's taps [N,43].
template <class T>
struct AdaMatrices {
  static constexpr const char* name = "ada_matrices";
  static constexpr int bands = 4, taps = 43;
  T *geometry, *colour, *filter;  // null: not wanted
  const T* values;
  int64_t N;
  int channels;
  T bank[bands][taps];             // whose sum, each times its gain, is the filter
  static constexpr int chunk = 8;  // samples
  FIRN_DEVICE int64_t blocks() const { return (N + chunk - 1) / chunk; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// sums[0] += the sum of sign(logits), sums[1] += their number; what is no number is left out.
template <class T>
struct AddSigns {
  static constexpr const char* name = "add_signs";
  T* sums;
  const T* logits;  // [count]
  int64_t count;
  FIRN_DEVICE int64_t blocks() const { return 1; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// p = max(0, p + step sign(sums[0] / sums[1] - target)), then sums = 0; where nothing was summed, nothing changes.
template <class T>
struct AdaptProbability {
  static constexpr const char* name = "adapt_probability";
  T *p, *sums;
  T target, step;
  FIRN_DEVICE int64_t blocks() const { return 1; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
