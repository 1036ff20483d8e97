// Element types. bf16 is storage only: every kernel computes in acc_t<T>.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#ifdef __CUDACC__
#define FIRN_DEVICE __host__ __device__
#else
#define FIRN_DEVICE
#endif

namespace firn {

enum class DType : uint8_t { f32, bf16, f64 };

struct bf16 {
  uint16_t bits;
  bf16() = default;
  FIRN_DEVICE explicit bf16(float v) {
#ifdef __CUDA_ARCH__
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(v));
#else
    const uint32_t u = std::bit_cast<uint32_t>(v);
    const uint32_t rounded = u + 0x7fff + ((u >> 16) & 1);  // to nearest, ties to even
    const bool nan = (u & 0x7fffffff) > 0x7f800000;         // rounding must not turn a NaN into infinity
    bits = static_cast<uint16_t>((nan ? u | 0x400000 : rounded) >> 16);
#endif
  }
  FIRN_DEVICE operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

template <class T>
using acc_t = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <class T>
constexpr DType dtype_of = std::is_same_v<T, double> ? DType::f64
                           : std::is_same_v<T, bf16> ? DType::bf16
                                                     : DType::f32;

constexpr size_t size_of(DType t) { return t == DType::f64 ? 8 : t == DType::bf16 ? 2 : 4; }
constexpr DType acc_type(DType t) { return t == DType::f64 ? DType::f64 : DType::f32; }
constexpr const char* name_of(DType t) { return t == DType::f64 ? "f64" : t == DType::bf16 ? "bf16" : "f32"; }

// Calls f(T{}) with the C++ type of t.
template <class F>
auto dispatch(DType t, F&& f) {
  switch (t) {
    case DType::f64:
      return f(double{});
    case DType::bf16:
      return f(bf16{});
    default:
      return f(float{});
  }
}

// The same for types that accumulate: f(float{}) or f(double{}).
template <class F>
auto dispatch_acc(DType t, F&& f) {
  return t == DType::f64 ? f(double{}) : f(float{});
}

}  // namespace firn
