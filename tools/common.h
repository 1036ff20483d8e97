// What the command-line tools share: lists of numbers, and one line and one exit code for whatever goes wrong.
#pragma once
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "io/files.h"
#include "kernels/error.h"
#include "tools/signals.h"

namespace firn::tools {

// "0-3,8" -> 0 1 2 3 8
inline std::vector<int64_t> parse_numbers(const std::string& text, const char* option) {
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
    if (last < first || last - first >= 1'000'000) throw bad();
    for (int64_t n = first; n <= last; ++n) numbers.push_back(n);
    begin = end + 1;
  }
  return numbers;
}

// Runs `body` and turns what it throws into a line on stderr: 2 for options that are wrong, 1 for what went wrong.
// Signals are taken as StopRequest says; a body that can stop in good order asks for it.
template <class F>
int guarded(const char* tool, F&& body) {
  const auto fail = [&](const char* what, int code) {
    std::fflush(stdout);
    fmt::print(stderr, "{}: {}\n", tool, printable(what, 4000));
    return code;
  };
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a file that grows too large is an error of write(), with a message
  try {
    StopRequest stop(tool);
    if constexpr (std::is_invocable_v<F, StopRequest&>)
      return body(stop);
    else
      return body();
  } catch (const ConfigError& e) {
    return fail(e.what(), 2);
  } catch (const std::bad_alloc&) {
    return fail("out of memory; a smaller batch at once needs less (--batch-gpu of gan-train, --batch of gan-sample)",
                1);
  } catch (const std::exception& e) {
    return fail(e.what(), 1);
  }
}

// Throws when what was printed did not reach its reader.
inline void flush_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout))
    throw IoError(fmt::format("cannot write the output: {}", std::strerror(errno)));
}

// Options under one heading of --help. One that is given twice has its last value, so that scripts can add to a
// command.
class Group {
 public:
  Group(CLI::App& app, const char* heading) : app_(app), heading_(heading) {}

  template <class T>
  CLI::Option* add(const char* names, T& value, const char* help) {
    CLI::Option* o = app_.add_option(names, value, help)->group(heading_);
    if (o->get_items_expected_max() == 1) o->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    return o;
  }
  CLI::Option* flag(const char* names, bool& value, const char* help) {
    return app_.add_flag(names, value, help)->group(heading_);
  }

 private:
  CLI::App& app_;
  const char* heading_;
};

// CLI11's own messages: help is 0, any misuse is 2.
inline int parse(CLI::App& app, int argc, char** argv, bool& proceed) {
  proceed = false;
  try {
    app.parse(argc, argv);
    proceed = true;
    return 0;
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    fmt::print(stderr, "{}: {} (--help lists the options)\n", app.get_name(), e.what());
    return 2;
  }
}

}  // namespace firn::tools
