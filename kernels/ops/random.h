// Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011): element i of a draw depends on (seed, offset, i)
// only, so a resumed run and any number of threads draw the same.
#pragma once
#include "kernels/core/run.h"

namespace firn::kernels {

// Four 32-bit words for one counter.
FIRN_DEVICE inline void philox(uint64_t seed, uint64_t offset, uint64_t index, uint32_t out[4]) {
  uint32_t c[4] = {uint32_t(index), uint32_t(index >> 32), uint32_t(offset), uint32_t(offset >> 32)};
  uint32_t k[2] = {uint32_t(seed), uint32_t(seed >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t(0xD2511F53u) * c[0], p1 = uint64_t(0xCD9E8D57u) * c[2];
    const uint32_t next[4] = {uint32_t(p1 >> 32) ^ c[1] ^ k[0], uint32_t(p1), uint32_t(p0 >> 32) ^ c[3] ^ k[1],
                              uint32_t(p0)};
    for (int i = 0; i < 4; ++i) c[i] = next[i];
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  for (int i = 0; i < 4; ++i) out[i] = c[i];
}

// y[i] ~ N(0,1) by Box-Muller; a counter gives four. The draw's number is offset, counted from *origin if there is one.
template <class T>
struct Normal {
  static constexpr const char* name = "normal";
  T* y;
  int64_t count;
  uint64_t seed, offset;
  const uint64_t* origin = nullptr;
  static constexpr int64_t chunk = 4096;
  FIRN_DEVICE int64_t blocks() const { return (count + chunk - 1) / chunk; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// y[i] uniform in [lo,hi), drawn in steps of 2^-24 of it. Otherwise as Normal.
template <class T>
struct Uniform {
  static constexpr const char* name = "uniform";
  T* y;
  int64_t count;
  acc_t<T> lo, hi;
  uint64_t seed, offset;
  const uint64_t* origin = nullptr;
  static constexpr int64_t chunk = 4096;
  FIRN_DEVICE int64_t blocks() const { return (count + chunk - 1) / chunk; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
