// Vectors of floats as the compiler's own vector types: one source for AVX-512, AVX2, SSE2 and NEON, and no library. A
// file *.simd.cpp, which alone reaches this, is compiled once for each instruction set of the processor family
// (kernels/CMakeLists.txt) and chosen at run time (cpu_target.h). All that it defines but one table of functions has
// internal linkage, and what it calls of others is inlined: the linker would keep one copy for all processors.
#pragma once
#include "kernels/core/types.h"

namespace firn::kernels::FIRN_TARGET {

namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32, kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kVectorBytes = 16, kRegisters = 32;
#else
constexpr int kVectorBytes = 16, kRegisters = 16;
#endif

constexpr int kLanes = kVectorBytes / 4;
using Vector = float __attribute__((vector_size(kVectorBytes)));
using Words = uint32_t __attribute__((vector_size(kVectorBytes)));
using Halves = uint16_t __attribute__((vector_size(kVectorBytes / 2)));
// The same in memory, at any multiple of an element.
using VectorAt = float __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
using HalvesAt = uint16_t __attribute__((vector_size(kVectorBytes / 2), aligned(2), may_alias));

inline Vector load(const float* p) { return *reinterpret_cast<const VectorAt*>(p); }
inline void store(float* p, Vector v) { *reinterpret_cast<VectorAt*>(p) = v; }

inline Vector load(const bf16* p) {
  const Halves bits = *reinterpret_cast<const HalvesAt*>(p);
  return reinterpret_cast<Vector>(__builtin_convertvector(bits, Words) << 16);
}

// Rounded as bf16(float) does: to nearest, ties to even, and NaN stays NaN.
inline void store(bf16* p, Vector v) {
  const Words u = reinterpret_cast<Words>(v), rounded = u + 0x7fff + ((u >> 16) & 1);
  const Words bits = v == v ? rounded : u | 0x400000;
  *reinterpret_cast<HalvesAt*>(p) = __builtin_convertvector(bits >> 16, Halves);
}

// The first n elements, of which there are fewer than lanes; the rest is zero, or stays.
template <class T>
Vector load_first(const T* p, int64_t n) {
  Vector v = {};
  for (int64_t i = 0; i < n; ++i) v[i] = float(p[i]);
  return v;
}
template <class T>
void store_first(T* p, Vector v, int64_t n) {
  T all[kLanes];
  store(all, v);
  for (int64_t i = 0; i < n; ++i) p[i] = all[i];
}

template <class T>
Vector load_up_to(const T* p, int64_t n) {
  return n >= kLanes ? load(p) : load_first(p, n);
}
template <class T>
void store_up_to(T* p, Vector v, int64_t n) {
  n >= kLanes ? store(p, v) : store_first(p, v, n);
}

constexpr int64_t whole_vectors(int64_t channels) { return (channels + kLanes - 1) / kLanes * kLanes; }

}  // namespace

}  // namespace firn::kernels::FIRN_TARGET
