#include "tools/common.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <new>
#include <system_error>

#include "base/text.h"

namespace firn::tools {
namespace {

const char* running = "";

constexpr const char* out_of_memory =
    "out of memory; a smaller batch at once needs less (--batch-gpu of gan-train, --batch of gan-sample)";

// One system call, without allocating and whatever becomes of it: stderr may be full or closed.
void say_error(std::string_view what) noexcept {
  std::string safe;
  try {
    safe = printable(what, 4000);
  } catch (const std::bad_alloc&) {
    safe.clear();
  }
  char line[5000];
  const std::string_view shown = safe.empty() ? what.substr(0, 4000) : safe;
  const int size = std::snprintf(line, sizeof line, "%s: %.*s\n", running, int(shown.size()), shown.data());
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line, size_t(size));
}

int fail(const std::exception_ptr& error) noexcept {
  try {
    std::rethrow_exception(error);
  } catch (const ConfigError& e) {
    return say_error(e.what()), 2;
  } catch (const std::bad_alloc&) {
    return say_error(out_of_memory), 1;
  } catch (const std::system_error& e) {
    const bool thread = e.code() == std::errc::resource_unavailable_try_again;
    return say_error(thread ? "cannot start a thread: there are too many, or too little memory (ulimit -u, ulimit -v)"
                            : e.what()),
           1;
  } catch (const std::exception& e) {
    return say_error(e.what()), 1;
  } catch (...) {
    return say_error("an error of unknown kind"), 1;
  }
}

// Of a thread that nobody listens to: OpenMP's, a library's.
[[noreturn]] void end_at_once() {
  const std::exception_ptr error = std::current_exception();
  if (!error) say_error("an internal error");
  const int code = error ? fail(error) : 1;
  remove_unfinished();
  _exit(code);
}

// A descriptor that was closed at the start stays unusable instead of becoming that of the next file opened.
void occupy_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF) [[maybe_unused]]
      const int taken = ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

const CLI::Option* option_named(const CLI::App& app, const std::string& name) {
  if (const CLI::Option* found = app.get_option_no_throw(name)) return found;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    if (const CLI::Option* found = sub->get_option_no_throw(name)) return found;
  return nullptr;
}

// CLI11 takes whatever follows as an option's value.
void check_values(const CLI::App& app, int argc, char** argv) {
  for (int i = 1; i + 1 < argc; ++i) {
    const std::string here = argv[i], next = argv[i + 1];
    if (here == "--") return;
    const CLI::Option* option = here.starts_with("-") ? option_named(app, here) : nullptr;
    if (!option || option->get_items_expected_min() == 0) continue;
    const bool names_one = next.starts_with("--") || (next.starts_with("-") && option_named(app, next));
    if (names_one)
      throw ConfigError(fmt::format("{} needs a value; {} looks like an option (a value like that is given as {}={})",
                                    here, printable(next), here, printable(next)));
    ++i;
  }
}

}  // namespace

int guarded(const char* tool, const std::function<int(StopRequest&)>& body) {
  running = tool;
  occupy_standard_descriptors();
  std::set_terminate(end_at_once);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a file that grows too large is an error of write(), with a message
  try {
    StopRequest stop(tool);
    const int code = body(stop);
    if (code == 0) flush_output();
    return code;
  } catch (...) {
    std::fflush(stdout);
    return fail(std::current_exception());
  }
}

void flush_output() {
  if (!std::cout.flush() || std::fflush(stdout) != 0 || std::ferror(stdout))
    throw IoError(fmt::format("cannot write the output: {}", std::strerror(errno)));
}

void require_png_name(const char* option, const std::string& path) {
  const std::string extension = lower_case(std::filesystem::path(path).extension().string());
  if (!extension.empty() && extension != ".png")
    throw ConfigError(fmt::format("{} {}: pictures are written as PNG; give a name that ends in .png", option, path));
}

void require_other_file(const std::filesystem::path& written, const std::filesystem::path& source) {
  std::error_code none;  // neither need be there
  if (std::filesystem::equivalent(written, source, none))
    throw ConfigError(fmt::format("{} would replace {}, which it is made from; write it elsewhere", written.string(),
                                  source.string()));
}

int parse(CLI::App& app, int argc, char** argv, bool& proceed) {
  proceed = false;
  app.set_version_flag(
      "--version", [&] { return version_text(app.get_name()); }, "what this was built from, and what it runs on");
  check_values(app, argc, argv);
  try {
    app.parse(argc, argv);
    proceed = true;
    return 0;
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    throw ConfigError(fmt::format("{} (--help lists the options)", e.what()));
  }
}

}  // namespace firn::tools
