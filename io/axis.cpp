#include "io/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace firn {
namespace {

constexpr double mantissas[] = {1, 2, 5};

// mantissa * 10^exponent, as near as a double comes to it.
double scaled(double mantissa, int exponent) {
  return exponent < 0 ? mantissa / std::pow(10.0, -exponent) : mantissa * std::pow(10.0, exponent);
}

struct Step {
  int mantissa, exponent;
  double value() const { return scaled(mantissa, exponent); }
};

Step step_of(double at_least) {
  const int exponent = int(std::floor(std::log10(at_least)));
  for (const double m : mantissas)
    if (scaled(m, exponent) >= at_least * (1 - 1e-9)) return {int(m), exponent};
  return {1, exponent + 1};
}

std::string with_commas(const std::string& digits) {  // 12345.5 is 12,345.5
  const size_t point = std::min(digits.find('.'), digits.size());
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && i < point && (point - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string power_of_ten(int exponent) {
  constexpr const char* digits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string text = exponent < 0 ? "10⁻" : "10";
  for (const char c : fmt::to_string(std::abs(exponent))) text += digits[c - '0'];
  return text;
}

std::string scientific(double value, int digits) {
  const std::string text = fmt::format("{:.{}e}", value, digits);
  const size_t e = text.find('e');
  std::string mantissa = text.substr(0, e);
  if (mantissa.find('.') != mantissa.npos) {
    mantissa.erase(mantissa.find_last_not_of('0') + 1);
    if (mantissa.back() == '.') mantissa.pop_back();
  }
  const std::string power = power_of_ten(std::stoi(text.substr(e + 1)));
  return mantissa == "1" ? power : mantissa + "·" + power;
}

std::string signed_text(double value, const std::string& magnitude) {
  return value < 0 ? fmt::format("−{}", magnitude) : magnitude;  // the minus sign, as wide as a digit
}

std::string tick_label(double value, const Step& step, double greatest) {
  if (value == 0) return "0";
  if (greatest >= 1e7 || step.exponent < -5) {
    const int digits = int(std::floor(std::log10(std::abs(value)) + 1e-9)) - step.exponent;
    return signed_text(value, scientific(std::abs(value), std::clamp(digits, 0, 9)));
  }
  return signed_text(value, with_commas(fmt::format("{:.{}f}", std::abs(value), std::max(-step.exponent, 0))));
}

}  // namespace

double Axis::place(double value) const {
  return logarithmic ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
}

Axis linear_axis(double low, double high, int ticks, Ends ends) {
  double size = std::max(std::abs(low), std::abs(high));
  if (size < 1e-300) low = high = size = 0;
  if (high - low <= size * 1e-9) {
    const double margin = size > 0 ? size / 10 : 1;
    high += margin;
    if (low != 0) low -= margin;
  }
  const Step step = step_of((high - low) / std::max(ticks, 1));
  const auto first = int64_t(ends == Ends::round ? std::floor(low / step.value() + 1e-9)
                                                 : std::ceil(low / step.value() - 1e-9)),
             last = int64_t(ends == Ends::round ? std::ceil(high / step.value() - 1e-9)
                                                : std::floor(high / step.value() + 1e-9));
  Axis axis{.low = low, .high = high};
  for (int64_t i = first; i <= last; ++i) axis.ticks.push_back(scaled(double(i * step.mantissa), step.exponent));
  if (ends == Ends::round) {
    axis.low = axis.ticks.front();
    axis.high = axis.ticks.back();
  }
  for (const double tick : axis.ticks) axis.labels.push_back(tick_label(tick, step, size));
  return axis;
}

Axis logarithmic_axis(double low, double high, int ticks) {
  const int first = int(std::floor(std::log10(low))), last = int(std::floor(std::log10(high))) + 1;
  std::vector<double> round;  // 1, 2 and 5 times each power of ten
  for (int e = first; e <= last; ++e)
    for (const double m : mantissas) round.push_back(scaled(m, e));
  Axis axis{.logarithmic = true};
  axis.low = *(std::ranges::upper_bound(round, low * (1 + 1e-9)) - 1);
  axis.high = *std::ranges::lower_bound(round, high * (1 - 1e-9));
  if (axis.low >= axis.high) axis.high = *std::ranges::upper_bound(round, axis.low);

  const double decades = std::log10(axis.high / axis.low);
  const bool between = decades * 3 <= ticks + 1;  // 2 and 5 have room
  const int every = std::max(1, int(std::ceil(decades / std::max(ticks, 1))));
  for (int e = first; e <= last; ++e)
    for (const double m : mantissas)
      if (const double tick = scaled(m, e);
          tick >= axis.low && tick <= axis.high && (m == 1 ? e % every == 0 : between))
        axis.ticks.push_back(tick);
  for (const double tick : axis.ticks)
    axis.labels.push_back(tick >= 0.99e-4 && tick < 1e5 ? with_commas(fmt::format("{}", tick)) : scientific(tick, 0));
  return axis;
}

std::string brief(double value, Zeros zeros) {
  if (!std::isfinite(value)) return "–";
  const double size = std::abs(value);
  if (size == 0) return "0";
  if (size < 1e-4 || size >= 1e9) return signed_text(value, scientific(size, 3));
  if (size >= 999.95) return signed_text(value, with_commas(fmt::format("{:.0f}", size)));
  return signed_text(value, zeros == Zeros::keep ? fmt::format("{:#.4g}", size) : fmt::format("{:.4g}", size));
}

}  // namespace firn
