// Element types. bf16 is storage only: every kernel computes in acc_t<T>. Integers are labels, indices and counts: they
// are moved, not computed with.
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

enum class DType : uint8_t { f32, bf16, f64, i32, i64 };

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
using acc_t = std::conditional_t<std::is_same_v<T, bf16>, float, T>;

template <class T>
constexpr DType dtype_of = std::is_same_v<T, double>    ? DType::f64
                           : std::is_same_v<T, bf16>    ? DType::bf16
                           : std::is_same_v<T, int32_t> ? DType::i32
                           : std::is_same_v<T, int64_t> ? DType::i64
                                                        : DType::f32;

constexpr bool is_integer(DType t) { return t == DType::i32 || t == DType::i64; }
constexpr size_t size_of(DType t) { return t == DType::f64 || t == DType::i64 ? 8 : t == DType::bf16 ? 2 : 4; }
constexpr DType acc_type(DType t) { return t == DType::bf16 ? DType::f32 : t; }
constexpr const char* name_of(DType t) {
  constexpr const char* names[] = {"f32", "bf16", "f64", "i32", "i64"};
  return names[static_cast<int>(t)];
}

[[noreturn]] void throw_other_type(DType t, const char* expected);  // ShapeError

// Calls f(T{}) with the C++ type of t, one that is computed with; ShapeError for integers.
template <class F>
auto dispatch(DType t, F&& f) {
  switch (t) {
    case DType::f64:
      return f(double{});
    case DType::bf16:
      return f(bf16{});
    case DType::f32:
      return f(float{});
    default:
      throw_other_type(t, "f32, bf16 or f64");
  }
}

// The same for types that accumulate: f(float{}) or f(double{}); ShapeError for others.
template <class F>
auto dispatch_acc(DType t, F&& f) {
  if (t != DType::f32 && t != DType::f64) throw_other_type(t, "f32 or f64");
  return t == DType::f64 ? f(double{}) : f(float{});
}

// The same for every type, for what only moves elements.
template <class F>
auto dispatch_any(DType t, F&& f) {
  switch (t) {
    case DType::i32:
      return f(int32_t{});
    case DType::i64:
      return f(int64_t{});
    default:
      return dispatch(t, f);
  }
}

}  // namespace firn
