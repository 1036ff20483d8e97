// Sums, products, divisions and functions of numbers.
#include <cfenv>

#include "tests/ptx/form.h"

namespace firn::ptx {
namespace {

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

// a b + c in bf16, rounded once: through a float whose last bit remembers what was cut off, which two more bits than
// bf16 has make exact.
bf16 fused(bf16 a, bf16 b, bf16 c) {
  const double product = double(float(a)) * float(b), addend = float(c), sum = product + addend;
  const double rest = (product - (sum - (sum - product))) + (addend - (sum - product));
  float f = static_cast<float>(sum);
  if (std::isfinite(f) && (f != sum || rest != 0)) {
    if (std::fabs(double(f)) > std::fabs(sum) || (f == sum && std::signbit(rest) != std::signbit(sum)))
      f = std::nextafter(f, 0.0f);
    f = std::bit_cast<float>(std::bit_cast<uint32_t>(f) | 1);
  }
  return bf16(f);
}

// f on both halves.
template <class F>
Step paired(const Form& form, F f) {
  return binary<Bf16x2>(form, [f](Bf16x2 a, Bf16x2 b) { return Bf16x2{f(a.low, b.low), f(a.high, b.high)}; });
}

template <class F>
Step sum_like(Form& form, F f) {
  const int mode = take_rounding(form);
  const std::string type = form.take_type();
  if (type == "bf16x2") {
    const float sign = f(0.0f, 1.0f);
    return paired(form, [sign](bf16 a, bf16 b) { return fused(b, bf16(sign), a); });
  }
  return with_type(form, type, [&](auto t) -> Step {
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
    if (!add) return paired(form, [](bf16 a, bf16 b) { return fused(a, b, bf16(-0.0f)); });
    return ternary<Bf16x2, Bf16x2>(form, [](Bf16x2 a, Bf16x2 b, Bf16x2 c) {
      return Bf16x2{fused(a.low, b.low, c.low), fused(a.high, b.high, c.high)};
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

}  // namespace

void add_arithmetic(Table& table) {
  table.insert({
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
  });
}

}  // namespace firn::ptx
