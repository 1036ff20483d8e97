// Logic, shifts and fields of bits.
#include "tests/ptx/form.h"

namespace firn::ptx {
namespace {

template <class F>
Step bitwise(Form& form, F f) {
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (std::is_integral_v<T>)
      return binary<T>(form, [f](T a, T b) { return static_cast<T>(f(a, b)); });
    else
      form.unknown();
  });
}

Step complement(Form& form) {
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (std::is_same_v<T, bool>)
      return unary<T>(form, [](T a) { return !a; });
    else if constexpr (is_int<T>)
      return unary<T>(form, [](T a) { return static_cast<T>(~a); });
    else
      form.unknown();
  });
}

Step shift(Form& form, bool left) {
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (is_int<T>) {
      return [d = form.operand(0), a = form.operand(1), b = form.operand(2), left](Warp& w, uint32_t lanes) {
        for_lanes(lanes, [&](int i) {
          const T v = w.read<T>(a, i);
          const uint32_t n = w.read<uint32_t>(b, i), bits = 8 * sizeof(T);
          T r = 0;
          if (left)
            r = n >= bits ? T{0} : static_cast<T>(static_cast<std::make_unsigned_t<T>>(v) << n);
          else if (n < bits)
            r = static_cast<T>(v >> n);
          else
            r = v < T{0} ? static_cast<T>(~T{0}) : T{0};
          w.write(d, i, r);
        });
      };
    } else {
      form.unknown();
    }
  });
}

Step funnel_shift(Form& form) {
  const bool left = form.take("l");
  if (!left && !form.take("r")) form.unknown();
  const bool wrap = form.take("wrap");
  if (!wrap && !form.take("clamp")) form.unknown();
  if (form.take_type() != "b32") form.unknown();
  return ternary<uint32_t, uint32_t>(form, [left, wrap](uint32_t low, uint32_t high, uint32_t n) {
    n = wrap ? n & 31 : std::min(n, 32u);
    const uint64_t both = uint64_t{high} << 32 | low;
    return static_cast<uint32_t>(left ? both << n >> 32 : both >> n);
  });
}

Step permute_bytes(Form& form) {
  if (form.take_type() != "b32") form.unknown();
  return ternary<uint32_t, uint32_t>(form, [](uint32_t a, uint32_t b, uint32_t selector) {
    const uint64_t both = uint64_t{b} << 32 | a;
    uint32_t r = 0;
    for (int i = 0; i < 4; ++i) {
      const uint32_t s = selector >> (4 * i) & 15;
      const uint8_t byte = static_cast<uint8_t>(both >> (8 * (s & 7)));
      r |= uint32_t{s & 8 ? static_cast<uint8_t>(byte & 0x80 ? 0xff : 0) : byte} << (8 * i);
    }
    return r;
  });
}

// bfi: the low `length` bits of a in place of those of b from `position` on; bfe: the bits from there, extended.
Step bit_field(Form& form, bool insert) {
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (is_int<T> && sizeof(T) >= 4) {
      using U = std::make_unsigned_t<T>;
      constexpr uint32_t bits = 8 * sizeof(T);
      const auto mask = [](uint32_t n) { return n >= bits ? static_cast<U>(~U{0}) : static_cast<U>((U{1} << n) - 1); };
      const size_t first = insert ? 3 : 2;
      return [=, d = form.operand(0), a = form.operand(1), b = form.operand(2), position = form.operand(first),
              length = form.operand(first + 1)](Warp& w, uint32_t lanes) {
        for_lanes(lanes, [&](int i) {
          const uint32_t p = w.read<uint32_t>(position, i) & 255, n = w.read<uint32_t>(length, i) & 255;
          const U x = w.read<U>(a, i);
          if (insert) {
            const U y = w.read<U>(b, i), m = p >= bits ? U{0} : static_cast<U>(mask(n) << p);
            w.write(d, i, static_cast<U>((y & ~m) | (p >= bits ? U{0} : x << p & m)));
          } else {
            const U field = p >= bits ? U{0} : static_cast<U>(x >> p & mask(n));
            const bool negative = std::is_signed_v<T> && n > 0 && x >> std::min(p + n - 1, bits - 1) & 1;
            w.write(d, i, static_cast<T>(negative ? field | ~mask(n) : field));
          }
        });
      };
    } else {
      form.unknown();
    }
  });
}

Step count_bits(Form& form, bool leading) {
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (is_int<T> && std::is_unsigned_v<T>)
      return unary<T>(
          form, [leading](T a) { return static_cast<uint32_t>(leading ? std::countl_zero(a) : std::popcount(a)); });
    else
      form.unknown();
  });
}

// Any function of three bits, given as its truth table.
Step logic3(Form& form) {
  if (form.take_type() != "b32") form.unknown();
  return [d = form.operand(0), a = form.operand(1), b = form.operand(2), c = form.operand(3), table = form.operand(4)](
             Warp& w, uint32_t lanes) {
    for_lanes(lanes, [&](int i) {
      const uint32_t x = w.read<uint32_t>(a, i), y = w.read<uint32_t>(b, i), z = w.read<uint32_t>(c, i),
                     f = w.read<uint32_t>(table, i);
      uint32_t r = 0;
      for (uint32_t k = 0; k < 8; ++k)
        if (f >> k & 1) r |= (k & 4 ? x : ~x) & (k & 2 ? y : ~y) & (k & 1 ? z : ~z);
      w.write(d, i, r);
    });
  };
}

}  // namespace

void add_bits(Table& table) {
  table.insert({
      {"and", [](Form& f) { return bitwise(f, std::bit_and<>{}); }},
      {"or", [](Form& f) { return bitwise(f, std::bit_or<>{}); }},
      {"xor", [](Form& f) { return bitwise(f, std::bit_xor<>{}); }},
      {"not", complement},
      {"shl", [](Form& f) { return shift(f, true); }},
      {"shr", [](Form& f) { return shift(f, false); }},
      {"shf", funnel_shift},
      {"prmt", permute_bytes},
      {"bfi", [](Form& f) { return bit_field(f, true); }},
      {"bfe", [](Form& f) { return bit_field(f, false); }},
      {"popc", [](Form& f) { return count_bits(f, false); }},
      {"clz", [](Form& f) { return count_bits(f, true); }},
      {"lop3", logic3},
  });
}

}  // namespace firn::ptx
