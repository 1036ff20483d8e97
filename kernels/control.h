// What lets a recorded sequence of launches run without its host: small values that the host sets by launches, and
// results that stay on the device until someone asks. Trade-off: a value costs a launch of its own, but never a wait.
#pragma once
#include <span>

#include "kernels/run.h"

namespace firn::kernels {

// to[i] = words[i]. The values travel in the launch, so the host may go on at once.
struct SetWords {
  static constexpr const char* name = "set_words";
  static constexpr int64_t capacity = 256;
  uint32_t* to;
  int64_t count;
  uint32_t words[capacity];
  FIRN_DEVICE int64_t blocks() const { return 1; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// `to` in device memory <- the bytes of `from`, a multiple of four, in as many launches as it takes.
void set_bytes(const Stream&, void* to, std::span<const std::byte> from);

template <class T>
void set_values(const Stream& stream, void* to, std::span<const T> from) {
  set_bytes(stream, to, std::as_bytes(from));
}

// y <- x unless x is NaN or infinite; one number.
template <class T>
struct CopyIfFinite {
  static constexpr const char* name = "copy_if_finite";
  T* y;
  const T* x;
  FIRN_DEVICE int64_t blocks() const { return 1; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// A running statistic: how many values were finite and how many not, the sum and the sum of squares of the finite ones.
struct RunningStat {
  double finite, not_finite, sum, squares;
};

template <class T>
struct AddToStat {
  static constexpr const char* name = "add_to_stat";
  RunningStat* stat;
  const T* value;
  FIRN_DEVICE int64_t blocks() const { return 1; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[n,c] = 1 where c is the class of sample n, else 0. y [N,classes].
template <class T>
struct OneHot {
  static constexpr const char* name = "one_hot";
  static constexpr int64_t chunk = 4096;
  T* y;
  const int32_t* labels;  // [N]
  int64_t N, classes;
  FIRN_DEVICE int64_t blocks() const { return (N * classes + chunk - 1) / chunk; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y = v / 127.5 - 1: bytes of images to [-1,1].
template <class T>
struct DecodePixels {
  static constexpr const char* name = "decode_pixels";
  static constexpr int64_t chunk = 16384;
  T* y;
  const uint8_t* pixels;
  int64_t count;
  FIRN_DEVICE int64_t blocks() const { return (count + chunk - 1) / chunk; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
