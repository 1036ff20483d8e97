// What the rows of the instruction table are made of: a mnemonic taken apart, and loops over the lanes of a warp.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "kernels/core/types.h"
#include "tests/ptx/executor.h"

namespace firn::ptx {

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

inline Space take_space(Form& form) {
  constexpr std::array<std::string_view, 5> names = {"global", "const", "shared", "local", "param"};
  const int i = form.take_one(names);
  if (i < 0 && form.take("shared::cta")) return Space::shared;
  if (i == 2) form.take("cta");
  return i < 0 ? Space::generic : static_cast<Space>(i + 1);
}

// Makes the step of an instruction, taking the parts of the mnemonic that it knows; what is left over is an unknown
// form.
using Row = Step (*)(Form&);
using Table = std::map<std::string, Row, std::less<>>;

Step bulk_copy(Form&);  // "cp.async.bulk"

void add_arithmetic(Table&);
void add_bits(Table&);
void add_conversion(Table&);
void add_memory(Table&);
void add_control(Table&);
void add_copies(Table&);
void add_matrix(Table&);
void add_bulk(Table&);
void add_warpgroup(Table&);

}  // namespace firn::ptx
