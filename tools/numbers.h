// Checks of numbers on a command line: a value that is none, or none that makes sense, is an error that says what is
// expected.
#pragma once
#include <CLI/CLI.hpp>
#include <charconv>
#include <string>

#include "base/text.h"

namespace firn::tools {

template <class T>
CLI::Validator between(T least, T most, const char* what) {
  const auto check = [=](std::string& text) -> std::string {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc{} && end == text.data() + text.size() && value >= least && value <= most) return {};
    return fmt::format("expected {} from {} to {}, not '{}'", what, least, most, printable(text, 40));
  };
  return CLI::Validator(check, "", "");
}

inline CLI::Validator whole(int64_t least, int64_t most) { return between(least, most, "a whole number"); }
inline CLI::Validator number(double least, double most) { return between(least, most, "a number"); }

}  // namespace firn::tools
