// The table of instructions. Each row takes the parts of a mnemonic that it knows; a part left over is an unknown form.
#include <algorithm>
#include <array>
#include <cfenv>
#include <cmath>
#include <limits>

#include "kernels/error.h"
#include "kernels/types.h"
#include "tests/ptx/executor.h"

namespace firn::ptx {
namespace {

struct Bf16x2 {
  bf16 low, high;
};

// The parts of one mnemonic, taken one by one.
class Form {
 public:
  explicit Form(Instruction& in) : instruction(in) {
    std::string_view s = in.mnemonic;
    while (!s.empty()) {
      const auto dot = std::min(s.find('.'), s.size());
      parts_.emplace_back(s.substr(0, dot));
      s.remove_prefix(std::min(dot + 1, s.size()));
    }
    name = parts_.front();
    parts_.erase(parts_.begin());
  }

  bool take(std::string_view part) {
    const auto found = std::find(parts_.begin(), parts_.end(), part);
    if (found == parts_.end()) return false;
    parts_.erase(found);
    return true;
  }
  // The place in `choices` of the one that is there, or -1.
  template <size_t N>
  int take_one(const std::array<std::string_view, N>& choices) {
    for (size_t i = 0; i < N; ++i)
      if (take(choices[i])) return static_cast<int>(i);
    return -1;
  }
  // The leftmost part that is a type.
  std::string take_type() {
    for (auto p = parts_.begin(); p != parts_.end(); ++p) {
      const std::string_view s = *p;
      const bool plain = s.size() >= 2 && std::string_view("usfb").find(s[0]) != s.npos &&
                         s.find_first_not_of("0123456789", 1) == s.npos;
      if (!plain && s != "pred" && s != "bf16" && s != "bf16x2") continue;
      std::string type = *p;
      parts_.erase(p);
      return type;
    }
    throw Error(fmt::format("'{}' names no type", instruction.mnemonic));
  }
  void finish() const {
    if (!parts_.empty()) throw Error(fmt::format("unknown form '{}' (.{})", instruction.mnemonic, parts_.front()));
  }
  [[noreturn]] void unknown() const { throw Error(fmt::format("unknown form '{}'", instruction.mnemonic)); }
  const Operand& operand(size_t i) const {
    if (i >= instruction.operands.size()) throw Error(fmt::format("'{}' lacks an operand", instruction.mnemonic));
    return instruction.operands[i];
  }

  Instruction& instruction;
  std::string name;

 private:
  std::vector<std::string> parts_;
};

template <class F>
void for_lanes(uint32_t lanes, F f) {
  for (; lanes; lanes &= lanes - 1) f(std::countr_zero(lanes));
}

// Calls f with a value of the C++ type for a PTX type; b types are unsigned.
template <class F>
Step with_type(const Form& form, const std::string& type, F f) {
  if (type == "u8" || type == "b8") return f(uint8_t{});
  if (type == "s8") return f(int8_t{});
  if (type == "u16" || type == "b16") return f(uint16_t{});
  if (type == "s16") return f(int16_t{});
  if (type == "u32" || type == "b32") return f(uint32_t{});
  if (type == "s32") return f(int32_t{});
  if (type == "u64" || type == "b64") return f(uint64_t{});
  if (type == "s64") return f(int64_t{});
  if (type == "f32") return f(float{});
  if (type == "f64") return f(double{});
  if (type == "pred") return f(bool{});
  form.unknown();
}

template <class T>
constexpr bool is_int = std::is_integral_v<T> && !std::is_same_v<T, bool>;

// How a function of one, two or three operands runs over the lanes.
template <class T, class F>
Step unary(const Form& form, F f) {
  return [d = form.operand(0), a = form.operand(1), f](Warp& w, uint32_t lanes) {
    for_lanes(lanes, [&](int i) { w.write(d, i, f(w.read<T>(a, i))); });
  };
}
template <class T, class F>
Step binary(const Form& form, F f) {
  return [d = form.operand(0), a = form.operand(1), b = form.operand(2), f](Warp& w, uint32_t lanes) {
    for_lanes(lanes, [&](int i) { w.write(d, i, f(w.read<T>(a, i), w.read<T>(b, i))); });
  };
}
template <class A, class C, class F>
Step ternary(const Form& form, F f) {
  return
      [d = form.operand(0), a = form.operand(1), b = form.operand(2), c = form.operand(3), f](Warp& w, uint32_t lanes) {
        for_lanes(lanes, [&](int i) { w.write(d, i, f(w.read<A>(a, i), w.read<A>(b, i), w.read<C>(c, i))); });
      };
}

template <class T>
using Wide = std::conditional_t<
    std::is_signed_v<T>,
    std::conditional_t<sizeof(T) == 8, __int128, std::conditional_t<sizeof(T) == 4, int64_t, int32_t>>,
    std::conditional_t<sizeof(T) == 8, unsigned __int128, std::conditional_t<sizeof(T) == 4, uint64_t, uint32_t>>>;

// Wrapping arithmetic, which C++ leaves undefined for signed types.
template <class T, class F>
T wrapped(T a, T b, F f) {
  if constexpr (is_int<T>) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(f(static_cast<U>(a), static_cast<U>(b))));
  } else {
    return f(a, b);
  }
}

void take_accuracy(Form& f) { f.take("rn"), f.take("approx"), f.take("ftz"), f.take("full"); }

// The mode of <cfenv> that a form asks for. Operands come from memory, so the compiler computes nothing ahead of it.
int take_rounding(Form& f) {
  take_accuracy(f);
  constexpr int modes[] = {FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  const int i = f.take_one<3>({"rz", "rm", "rp"});
  return i < 0 ? FE_TONEAREST : modes[i];
}

template <class F>
auto rounded(int mode, F f) {
  return [mode, f](auto... operands) {
    if (mode == FE_TONEAREST) return f(operands...);
    std::fesetround(mode);
    const auto result = f(operands...);
    std::fesetround(FE_TONEAREST);
    return result;
  };
}

// --- arithmetic
// -------------------------------------------------------------------------------------------------------

template <class F>
Step sum_like(Form& form, F f) {
  const int mode = take_rounding(form);
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (std::is_same_v<T, bool>)
      form.unknown();
    else
      return binary<T>(form, rounded(mode, [f](T a, T b) { return wrapped(a, b, f); }));
  });
}

Step multiply(Form& form, bool add) {
  const int mode = take_rounding(form);
  const int part = form.take_one<3>({"lo", "hi", "wide"});
  const std::string type = form.take_type();
  if (type == "bf16x2") {
    if (!add) form.unknown();
    return ternary<Bf16x2, Bf16x2>(form, [](Bf16x2 a, Bf16x2 b, Bf16x2 c) {
      return Bf16x2{bf16(std::fma(float(a.low), float(b.low), float(c.low))),
                    bf16(std::fma(float(a.high), float(b.high), float(c.high)))};
    });
  }
  return with_type(form, type, [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (std::is_floating_point_v<T>) {
      if (add) return ternary<T, T>(form, rounded(mode, [](T a, T b, T c) { return std::fma(a, b, c); }));
      return binary<T>(form, rounded(mode, [](T a, T b) { return a * b; }));
    } else if constexpr (is_int<T>) {
      using W = Wide<T>;
      const auto run = [&]<class R>(R, auto take) -> Step {
        if (add)
          return ternary<T, R>(form, [take](T a, T b, R c) {
            return wrapped<R>(take(static_cast<W>(a) * static_cast<W>(b)), c, std::plus<>{});
          });
        return binary<T>(form, [take](T a, T b) { return take(static_cast<W>(a) * static_cast<W>(b)); });
      };
      if (part == 2) {
        if constexpr (sizeof(T) <= 4)
          return run(W{}, [](W v) { return v; });
        else
          form.unknown();
      }
      if (part == 1) return run(T{}, [](W v) { return static_cast<T>(v >> (8 * sizeof(T))); });
      if (part == 0) return run(T{}, [](W v) { return static_cast<T>(v); });
      form.unknown();
    } else {
      form.unknown();
    }
  });
}

template <class T>
T quotient(T a, T b) {
  if constexpr (is_int<T>) {
    if (b == 0) return static_cast<T>(~T{0});
    if constexpr (std::is_signed_v<T>)
      if (b == -1) return wrapped<T>(0, a, std::minus<>{});
  }
  return static_cast<T>(a / b);
}

Step divide(Form& form, bool remainder) {
  take_accuracy(form);
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (std::is_same_v<T, bool>) {
      form.unknown();
    } else {
      if (!remainder) return binary<T>(form, quotient<T>);
      if constexpr (is_int<T>)
        return binary<T>(form, [](T a, T b) {
          return wrapped<T>(a, wrapped<T>(quotient(a, b), b, std::multiplies<>{}), std::minus<>{});
        });
      else
        form.unknown();
    }
  });
}

// Of a number and a NaN, min and max give the number.
Step extremum(Form& form, bool largest) {
  form.take("ftz");
  const bool nan = form.take("NaN");
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (std::is_floating_point_v<T>) {
      return binary<T>(form, [largest, nan](T a, T b) {
        if (nan && (std::isnan(a) || std::isnan(b))) return std::numeric_limits<T>::quiet_NaN();
        return largest ? std::fmax(a, b) : std::fmin(a, b);
      });
    } else if constexpr (is_int<T>) {
      return binary<T>(form, [largest](T a, T b) { return largest ? std::max(a, b) : std::min(a, b); });
    } else {
      form.unknown();
    }
  });
}

Step negate(Form& form, bool absolute) {
  form.take("ftz");
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (std::is_floating_point_v<T>) {
      return unary<T>(form, [absolute](T a) { return absolute ? std::fabs(a) : -a; });
    } else if constexpr (is_int<T>) {
      return unary<T>(form, [absolute](T a) { return absolute && a >= 0 ? a : wrapped<T>(0, a, std::minus<>{}); });
    } else {
      form.unknown();
    }
  });
}

template <class F>
Step real_function(Form& form, F f) {
  take_accuracy(form);
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (std::is_floating_point_v<T>)
      return unary<T>(form, [f](T a) { return static_cast<T>(f(a)); });
    else
      form.unknown();
  });
}

Step copysign(Form& form) {
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (std::is_floating_point_v<T>)
      return binary<T>(form, [](T sign, T magnitude) { return std::copysign(magnitude, sign); });
    else
      form.unknown();
  });
}

// --- bits
// -------------------------------------------------------------------------------------------------------------

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

// --- comparison, choice, conversion
// -----------------------------------------------------------------------------------

Step compare(Form& form) {
  constexpr std::array<std::string_view, 18> names = {"eq",  "ne",  "lt",  "le", "gt", "ge", "equ", "neu", "ltu",
                                                      "leu", "gtu", "geu", "lo", "ls", "hi", "hs",  "num", "nan"};
  const int op = form.take_one(names);
  const int combine = form.take_one<3>({"and", "or", "xor"});
  form.take("ftz");
  if (op < 0) form.unknown();
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    const auto holds = [op](T a, T b) {
      if constexpr (std::is_floating_point_v<T>) {
        if (std::isnan(a) || std::isnan(b)) return (op >= 6 && op < 12) || op == 17;
        if (op >= 16) return op == 16;
      }
      switch (op >= 12 ? op - 10 : op >= 6 ? op - 6 : op) {
        case 0:
          return a == b;
        case 1:
          return a != b;
        case 2:
          return a < b;
        case 3:
          return a <= b;
        case 4:
          return a > b;
        default:
          return a >= b;
      }
    };
    if (combine < 0) return binary<T>(form, holds);
    return ternary<T, bool>(form, [holds, combine](T a, T b, bool p) {
      const bool h = holds(a, b);
      return combine == 0 ? h && p : combine == 1 ? h || p : h != p;
    });
  });
}

Step select(Form& form) {
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    return ternary<T, bool>(form, [](T a, T b, bool p) { return p ? a : b; });
  });
}

template <class To, class From>
To converted(From v, int rounding, bool saturate) {
  if constexpr (std::is_floating_point_v<From>) {
    const From r = rounding == 0   ? std::nearbyint(v)
                   : rounding == 1 ? std::trunc(v)
                   : rounding == 2 ? std::floor(v)
                   : rounding == 3 ? std::ceil(v)
                                   : v;
    if constexpr (std::is_floating_point_v<To>) {
      const To y = static_cast<To>(r);
      return saturate ? std::isnan(y) ? To{0} : std::clamp(y, To{0}, To{1}) : y;
    } else {  // to integers always saturates
      if (std::isnan(r)) return 0;
      using L = std::numeric_limits<To>;
      if (r >= static_cast<From>(L::max())) return L::max();
      if (r <= static_cast<From>(L::min())) return L::min();
      return static_cast<To>(r);
    }
  } else {
    if constexpr (is_int<To>) {
      if (saturate) {
        using L = std::numeric_limits<To>;
        const __int128 wide = v;
        return static_cast<To>(std::clamp<__int128>(wide, L::min(), L::max()));
      }
    }
    return static_cast<To>(v);
  }
}

Step convert(Form& form) {
  form.take("rn"), form.take("rz"), form.take("ftz");
  const int rounding = form.take_one<4>({"rni", "rzi", "rmi", "rpi"});
  const bool saturate = form.take("sat");
  const std::string to = form.take_type(), from = form.take_type();
  if (to == "bf16x2" && from == "f32")
    return binary<float>(form, [](float high, float low) { return Bf16x2{bf16(low), bf16(high)}; });
  if (to == "bf16" && from == "f32") return unary<float>(form, [](float a) { return bf16(a); });
  if (to == "f32" && from == "bf16") return unary<bf16>(form, [](bf16 a) { return float(a); });
  return with_type(form, to, [&](auto t) {
    return with_type(form, from, [&](auto f) -> Step {
      using To = decltype(t);
      using From = decltype(f);
      if constexpr (std::is_same_v<To, bool> || std::is_same_v<From, bool>)
        form.unknown();
      else
        return unary<From>(form, [=](From v) { return converted<To>(v, rounding, saturate); });
    });
  });
}

// mov, also between a register and a list of narrower ones.
Step move(Form& form) {
  const std::string type = form.take_type();
  const Operand d = form.operand(0), a = form.operand(1);
  if (d.kind == Operand::Kind::list || a.kind == Operand::Kind::list) {
    const auto& list = d.kind == Operand::Kind::list ? d.list : a.list;
    const int bits = std::stoi(type.substr(1)) / static_cast<int>(list.size());
    const uint64_t mask = bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
    return [=](Warp& w, uint32_t lanes) {
      for_lanes(lanes, [&](int i) {
        if (d.kind == Operand::Kind::list) {
          uint64_t v = w.read<uint64_t>(a, i);
          for (const Operand& part : d.list) {
            w.write(part, i, v & mask);
            v >>= bits;
          }
        } else {
          uint64_t v = 0;
          for (size_t k = a.list.size(); k-- > 0;) v = v << bits | (w.read<uint64_t>(a.list[k], i) & mask);
          w.write(d, i, v);
        }
      });
    };
  }
  return [=](Warp& w, uint32_t lanes) {
    for_lanes(lanes, [&](int i) { w.write(d, i, w.read<uint64_t>(a, i) + static_cast<uint64_t>(a.offset)); });
  };
}

Space take_space(Form& form) {
  constexpr std::array<std::string_view, 5> names = {"global", "const", "shared", "local", "param"};
  const int i = form.take_one(names);
  if (i == 2) form.take("cta");
  return i < 0 ? Space::generic : static_cast<Space>(i + 1);
}

// Between an address in a space and a generic one.
Step convert_address(Form& form) {
  const bool to = form.take("to");
  const Space space = take_space(form);
  form.take_type();
  const uint64_t window = space == Space::shared ? kSharedWindow : space == Space::local ? kLocalWindow : 0;
  return unary<uint64_t>(form, [=](uint64_t a) { return to ? a - window : a + window; });
}

// --- memory
// -----------------------------------------------------------------------------------------------------------

Step load_store(Form& form, bool store) {
  const Space space = take_space(form);
  form.take("volatile"), form.take("nc"), form.take("relaxed"), form.take("gpu"), form.take("weak");
  for (const char* hint : {"ca", "cg", "cs", "lu", "cv", "wb", "wt"}) form.take(hint);
  const size_t n = form.take("v2") ? 2 : form.take("v4") ? 4 : form.take("v8") ? 8 : 1;
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    const Operand address = form.operand(store ? 0 : 1), data = form.operand(store ? 1 : 0);
    return [=](Warp& w, uint32_t lanes) {
      for_lanes(lanes, [&](int i) {
        std::byte* at = w.memory(space, address, n * sizeof(T), store ? Access::write : Access::read, i);
        for (size_t k = 0; k < n; ++k) {
          const Operand& o = n == 1 ? data : data.list.at(k);
          T v{};
          if (store) {
            v = w.read<T>(o, i);
            if (at) std::memcpy(at + k * sizeof(T), &v, sizeof v);
          } else {
            if (at) std::memcpy(&v, at + k * sizeof(T), sizeof v);
            w.write(o, i, v);
          }
        }
      });
    };
  });
}

// Lanes go one after another, in order.
Step atomic(Form& form, bool returns) {
  const Space space = take_space(form);
  form.take("relaxed"), form.take("gpu"), form.take("sys");
  const int op = form.take_one<9>({"add", "exch", "cas", "min", "max", "and", "or", "xor", "inc"});
  return with_type(form, form.take_type(), [&](auto t) -> Step {
    using T = decltype(t);
    if constexpr (std::is_same_v<T, bool>) {
      form.unknown();
    } else {
      const size_t first = returns ? 1 : 0;
      const Operand result = returns ? form.operand(0) : Operand{}, address = form.operand(first),
                    b = form.operand(first + 1), c = op == 2 ? form.operand(first + 2) : Operand{};
      const auto next = [op](T old, T v, T swap) -> T {
        switch (op) {
          case 0:
            return wrapped(old, v, std::plus<>{});
          case 1:
            return v;
          case 2:
            return old == v ? swap : old;
          case 3:
            return std::min(old, v);
          case 4:
            return std::max(old, v);
          default:
            if constexpr (is_int<T>) {
              if (op == 8) return old >= v ? T{0} : static_cast<T>(old + 1);
              return static_cast<T>(op == 5 ? old & v : op == 6 ? old | v : old ^ v);
            }
            return old;
        }
      };
      if (op < 0 || (op > 4 && !is_int<T>)) form.unknown();
      return [=](Warp& w, uint32_t lanes) {
        for_lanes(lanes, [&](int i) {
          std::byte* at = w.memory(space, address, sizeof(T), Access::atomic, i);
          if (!at) return;
          T old;
          std::memcpy(&old, at, sizeof old);
          const T v = next(old, w.read<T>(b, i), op == 2 ? w.read<T>(c, i) : T{});
          std::memcpy(at, &v, sizeof v);
          w.write(result, i, old);
        });
      };
    }
  });
}

// --- warps and blocks
// -------------------------------------------------------------------------------------------------

Step barrier(Form& form) {
  if (form.take("warp")) {
    form.take("sync");
    form.instruction.flow = Instruction::Flow::warp_wide;
    form.instruction.member_mask = 0;
    return [](Warp&, uint32_t) {};
  }
  form.take("cta"), form.take("aligned"), form.take("all");
  if (!form.take("sync")) form.unknown();
  form.instruction.flow = Instruction::Flow::block_barrier;
  return {};
}

Step shuffle(Form& form) {
  if (!form.take("sync") || form.take_type() != "b32") form.unknown();
  const int mode = form.take_one<4>({"idx", "up", "down", "bfly"});
  form.instruction.flow = Instruction::Flow::warp_wide;
  form.instruction.member_mask = 4;
  return [=, d = form.operand(0), a = form.operand(1), b = form.operand(2), c = form.operand(3)](Warp& w,
                                                                                                 uint32_t lanes) {
    uint32_t values[32] = {}, result[32];
    for_lanes(lanes, [&](int i) { values[i] = w.read<uint32_t>(a, i); });
    for_lanes(lanes, [&](int i) {
      const int by = static_cast<int>(w.read<uint32_t>(b, i) & 31), clamp = static_cast<int>(w.read<uint32_t>(c, i));
      const int segment = clamp >> 8 & 31, low = i & segment, high = low | (clamp & 31 & ~segment);
      int from = mode == 0 ? low | (by & ~segment) : mode == 1 ? i - by : mode == 2 ? i + by : i ^ by;
      if (mode == 1 ? from < high : from > high) from = i;
      if (!(lanes >> from & 1)) w.report("shuffle: reads a lane outside the mask", i);
      result[i] = values[from];
    });
    for_lanes(lanes, [&](int i) { w.write(d, i, result[i]); });
  };
}

Step vote(Form& form) {
  form.take("sync");
  const int mode = form.take_one<4>({"all", "any", "uni", "ballot"});
  form.take_type();
  form.instruction.flow = Instruction::Flow::warp_wide;
  form.instruction.member_mask = 2;
  return [=, d = form.operand(0), a = form.operand(1)](Warp& w, uint32_t lanes) {
    uint32_t yes = 0;
    for_lanes(lanes, [&](int i) { yes |= uint32_t{w.read<bool>(a, i)} << i; });
    for_lanes(lanes, [&](int i) {
      if (mode == 3)
        w.write(d, i, yes);
      else
        w.write(d, i, mode == 0 ? yes == lanes : mode == 1 ? yes != 0 : yes == 0 || yes == lanes);
    });
  };
}

using Row = Step (*)(Form&);

const std::map<std::string, Row, std::less<>>& table() {
  static const std::map<std::string, Row, std::less<>> rows = {
      {"add", [](Form& f) { return sum_like(f, std::plus<>{}); }},
      {"sub", [](Form& f) { return sum_like(f, std::minus<>{}); }},
      {"mul", [](Form& f) { return multiply(f, false); }},
      {"mad", [](Form& f) { return multiply(f, true); }},
      {"fma", [](Form& f) { return multiply(f, true); }},
      {"div", [](Form& f) { return divide(f, false); }},
      {"rem", [](Form& f) { return divide(f, true); }},
      {"min", [](Form& f) { return extremum(f, false); }},
      {"max", [](Form& f) { return extremum(f, true); }},
      {"neg", [](Form& f) { return negate(f, false); }},
      {"abs", [](Form& f) { return negate(f, true); }},
      {"copysign", copysign},
      {"rcp", [](Form& f) { return real_function(f, [](auto a) { return 1 / a; }); }},
      {"sqrt", [](Form& f) { return real_function(f, [](auto a) { return std::sqrt(a); }); }},
      {"rsqrt", [](Form& f) { return real_function(f, [](auto a) { return 1 / std::sqrt(a); }); }},
      {"ex2", [](Form& f) { return real_function(f, [](auto a) { return std::exp2(a); }); }},
      {"lg2", [](Form& f) { return real_function(f, [](auto a) { return std::log2(a); }); }},
      {"sin", [](Form& f) { return real_function(f, [](auto a) { return std::sin(a); }); }},
      {"cos", [](Form& f) { return real_function(f, [](auto a) { return std::cos(a); }); }},
      {"tanh", [](Form& f) { return real_function(f, [](auto a) { return std::tanh(a); }); }},
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
      {"setp", compare},
      {"selp", select},
      {"cvt", convert},
      {"mov", move},
      {"cvta", convert_address},
      {"ld", [](Form& f) { return load_store(f, false); }},
      {"ldu", [](Form& f) { return load_store(f, false); }},
      {"st", [](Form& f) { return load_store(f, true); }},
      {"atom", [](Form& f) { return atomic(f, true); }},
      {"red", [](Form& f) { return atomic(f, false); }},
      {"bar", barrier},
      {"barrier", barrier},
      {"shfl", shuffle},
      {"vote", vote},
      {"ret", [](Form& f) -> Step { return f.take("uni"), f.instruction.flow = Instruction::Flow::leave, Step{}; }},
      {"exit", [](Form& f) -> Step { return f.instruction.flow = Instruction::Flow::leave, Step{}; }},
  };
  return rows;
}

}  // namespace

void bind(Instruction& instruction) {
  Form form(instruction);
  const auto row = table().find(form.name);
  if (row == table().end()) form.unknown();
  instruction.step = row->second(form);
  form.finish();
}

}  // namespace firn::ptx
