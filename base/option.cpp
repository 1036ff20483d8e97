#include "base/option.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/error.h"
#include "base/text.h"

namespace firn {
namespace {

std::string range_text(const Option& o) {
  if (o.above_least)
    return std::isinf(o.most) ? fmt::format(" above {}", o.least)
                              : fmt::format(" above {} and up to {}", o.least, o.most);
  if (std::isinf(o.least)) return std::isinf(o.most) ? "" : fmt::format(" up to {}", o.most);
  return std::isinf(o.most) ? fmt::format(" from {} up", o.least) : fmt::format(" from {} to {}", o.least, o.most);
}

bool in_range(const Option& o, double v) {
  return std::isfinite(v) && v <= o.most && (o.above_least ? v > o.least : v >= o.least);
}

template <class T>
constexpr bool is_number =
    std::is_same_v<T, int> || std::is_same_v<T, int64_t> || std::is_same_v<T, uint64_t> || std::is_same_v<T, double>;

template <class T>
T number(const Option& option, const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  if (!whole || !in_range(option, double(value)))
    throw ConfigError(fmt::format("{}: expected a {}{}, not '{}'", option.name(),
                                  std::is_same_v<T, double> ? "number" : "whole number", range_text(option),
                                  printable(text, 40)));
  return value;
}

}  // namespace

std::string Option::name() const {
  const std::string names = flag;
  return names.empty() ? key : names.substr(0, names.find(','));
}

void throw_no_name(const char* what, const std::string& name, const std::vector<std::string>& names) {
  throw ConfigError(
      fmt::format("no {} is called '{}'; there are {}", what, printable(name, 40), fmt::join(names, ", ")));
}

std::vector<int64_t> parse_numbers(const std::string& text, const std::string& option) {
  const auto bad = [&] {
    return ConfigError(fmt::format("{} {}: expected numbers and ranges, like 0-3,8", option, text));
  };
  const auto number = [&](const std::string& part) {
    if (part.empty() || part.size() > 18 || part.find_first_not_of("0123456789") != std::string::npos) throw bad();
    return std::stoll(part);
  };
  std::vector<int64_t> numbers;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const size_t dash = part.find('-');
    const int64_t first = number(part.substr(0, dash)),
                  last = dash == std::string::npos ? first : number(part.substr(dash + 1));
    constexpr int64_t most = 1'000'000;
    if (last < first || last - first >= most - int64_t(numbers.size())) throw bad();
    for (int64_t n = first; n <= last; ++n) numbers.push_back(n);
    begin = end + 1;
  }
  return numbers;
}

std::string to_text(const OptionValue& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        using V = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<V, TextValue>)
          return v.get();
        else if constexpr (std::is_same_v<V, std::string*>)
          return *v;
        else if constexpr (std::is_same_v<V, bool*> || is_number<std::remove_pointer_t<V>>)
          return fmt::format("{}", *v);
        else
          return fmt::format("{}", fmt::join(*v, ","));
      },
      value);
}

void set_from_text(const Option& option, const OptionValue& value, const std::vector<std::string>& texts) {
  const std::string text = texts.empty() ? std::string() : texts.back();
  std::visit(
      [&](const auto& v) {
        using V = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<V, TextValue>) {
          v.set(text);
        } else if constexpr (std::is_same_v<V, std::string*>) {
          *v = text;
        } else if constexpr (std::is_same_v<V, bool*>) {
          const auto is = [&](std::initializer_list<const char*> words) {
            return std::ranges::find(words, text) != words.end();
          };
          *v = is({"", "true", "1", "yes", "on"});
          if (!*v && !is({"false", "0", "no", "off"}))
            throw ConfigError(fmt::format("{} {}: expected yes or no", option.name(), printable(text, 40)));
        } else if constexpr (is_number<std::remove_pointer_t<V>>) {
          *v = number<std::remove_pointer_t<V>>(option, text);
        } else if constexpr (std::is_same_v<V, std::vector<std::string>*>) {
          *v = texts;
        } else {
          v->clear();
          if (text.empty()) return;
          for (const int64_t n : parse_numbers(text, option.name())) {
            if (!in_range(option, double(n)) || n > std::numeric_limits<int>::max())
              throw ConfigError(fmt::format("{} {}: expected whole numbers{}", option.name(), n, range_text(option)));
            v->push_back(static_cast<typename std::remove_pointer_t<V>::value_type>(n));
          }
        }
      },
      value);
}

void check_range(const Option& option, const OptionValue& value) {
  std::visit(
      [&](const auto& v) {
        using V = std::decay_t<decltype(v)>;
        if constexpr (!std::is_same_v<V, TextValue> && is_number<std::remove_pointer_t<V>>)
          if (!in_range(option, double(*v)))
            throw ConfigError(
                fmt::format("{} {}: expected a number{}", option.name(), to_text(value), range_text(option)));
      },
      value);
}

}  // namespace firn
