// Comparison, choice, and moves between types and address spaces.
#include "tests/ptx/form.h"

namespace firn::ptx {
namespace {

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

// Between an address in a space and a generic one.
Step convert_address(Form& form) {
  const bool to = form.take("to");
  const Space space = take_space(form);
  form.take_type();
  const uint64_t window = space == Space::shared  ? kSharedWindow
                          : space == Space::local ? kLocalWindow
                          : space == Space::param ? kParameterWindow
                                                  : 0;
  return unary<uint64_t>(form, [=](uint64_t a) { return to ? a - window : a + window; });
}

}  // namespace

void add_conversion(Table& table) {
  table.insert({
      {"setp", compare},
      {"selp", select},
      {"cvt", convert},
      {"mov", move},
      {"cvta", convert_address},
  });
}

}  // namespace firn::ptx
