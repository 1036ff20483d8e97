// What lets a recorded sequence of launches run without its host: small values that the host sets by launches, and
// results that stay on the device until someone asks. Trade-off: a value costs a launch of its own, but never a wait.
#pragma once
#include <span>

#include "kernels/core/run.h"

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

// y[n,p,c] = v / 127.5 - 1, where v is channel c of pixel p of image items[n]: bytes to [-1,1]. Items from `stored` on
// are items 0, 1, ... mirrored. Without `items`: image n. An item that is not there is the first or the last.
template <class T>
struct DecodePixels {
  static constexpr const char* name = "decode_pixels";
  static constexpr int chunk = 4096;  // pixels
  T* y;                               // [N,area,channels]
  const uint8_t* pixels;              // [stored,area,channels]
  const int32_t* items;               // [N] or null
  int64_t N;
  int stored, area, width, channels;
  FIRN_DEVICE int chunks() const { return (area + chunk - 1) / chunk; }
  FIRN_DEVICE int64_t blocks() const { return N * chunks(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// to[to_rows[n]] = from[from_rows[n]]: rows of 32-bit words. Without a list: row n. Rows that are not there are left
// out.
struct CopyRows {
  static constexpr const char* name = "copy_rows";
  static constexpr int chunk = 4096;  // words
  uint32_t* to;
  const uint32_t* from;
  const int32_t *to_rows, *from_rows;  // [N] or null
  int64_t N, to_count, from_count;
  int words;
  FIRN_DEVICE int chunks() const { return (words + chunk - 1) / chunk; }
  FIRN_DEVICE int64_t blocks() const { return N * chunks(); }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
