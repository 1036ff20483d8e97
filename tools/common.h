// What the command-line tools share: one line and one exit code for whatever goes wrong.
#pragma once
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/option.h"
#include "io/files.h"
#include "tools/signals.h"

namespace firn::tools {

// Runs `body` and turns what it throws into a line on stderr: 2 for options that are wrong, 1 for what went wrong, also
// where a thread of its own threw, nothing can be allocated or nobody takes the line. Signals are taken as StopRequest
// says; a body that can stop in good order asks for it. What `body` printed has reached its reader, or that is an
// error.
int guarded(const char* tool, const std::function<int(StopRequest&)>& body);
inline int guarded(const char* tool, const std::function<int()>& body) {
  return guarded(tool, [&](StopRequest&) { return body(); });
}

void flush_output();  // IoError when what was printed did not reach its reader

// ConfigError unless a picture of this name may be a PNG, the only format that is written.
void require_png_name(const char* option, const std::string& path);

// ConfigError where what is to be written would replace what it is made from.
void require_other_file(const std::filesystem::path& written, const std::filesystem::path& source);

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

// CLI11's own messages: help and version are 0, any misuse is 2.
int parse(CLI::App& app, int argc, char** argv, bool& proceed);

std::string version_text(const std::string& tool, int gpu = 0);  // of the build, the libraries, a GPU, the processor

}  // namespace firn::tools
