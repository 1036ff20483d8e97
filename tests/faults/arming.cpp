#include "arming.h"

#include <execinfo.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "faults.h"

namespace firn::faults {

bool arm(const Fault&);

namespace {

struct Name {
  const char* name;
  int value;
};
constexpr Name kinds[] = {
    {"open", int(Kind::open)},     {"read", int(Kind::read)},     {"list", int(Kind::list)},
    {"write", int(Kind::write)},   {"sync", int(Kind::sync)},     {"rename", int(Kind::rename)},
    {"link", int(Kind::link)},     {"unlink", int(Kind::unlink)}, {"truncate", int(Kind::truncate)},
    {"mkdir", int(Kind::mkdir)},   {"close", int(Kind::close)},   {"stat", int(Kind::stat)},
    {"thread", int(Kind::thread)}, {"malloc", int(Kind::malloc)}};
constexpr int half_error = -1;
constexpr Name errors[] = {{"short", half_error}, {"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EINTR", EINTR},
                           {"ENOMEM", ENOMEM},    {"EMFILE", EMFILE}, {"EACCES", EACCES}, {"EDQUOT", EDQUOT},
                           {"EROFS", EROFS},      {"EPERM", EPERM},   {"ENOENT", ENOENT}, {"EAGAIN", EAGAIN},
                           {"EINVAL", EINVAL}};

// 0: there is no such name.
int value_of(const auto& names, const char* name) {
  for (const Name& n : names)
    if (name && std::strcmp(n.name, name) == 0) return n.value;
  return 0;
}

std::atomic<Kind> armed{Kind::none};
std::atomic<long> count{0};
long at = 0;
int error = 0;
bool onward = false;
char under[4096], report[4096];

bool is_under(const char* path) { return std::strncmp(path, under, std::strlen(under)) == 0; }

bool concerns(int fd, const char* path) {
  if (!under[0]) return true;
  char full[4096] = {};
  if (path && path[0] == '/') return is_under(path);
  if (path) {
    if (::syscall(SYS_getcwd, full, sizeof full) < 0) return false;
    const size_t length = std::strlen(full);
    std::snprintf(full + length, sizeof full - length, "/%s", path);
    return is_under(full);
  }
  char link[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  return fd >= 0 && ::syscall(SYS_readlink, link, full, sizeof full - 1) > 0 && is_under(full);
}

// The file name of the program or library, not counting the C and C++ libraries, whose call it is.
const char* caller() {
  void* frames[24];
  const int depth = ::backtrace(frames, std::size(frames));
  Dl_info own, info;
  ::dladdr(&armed, &own);
  for (int i = 0; i < depth; ++i) {
    if (::dladdr(frames[i], &info) == 0 || info.dli_fbase == own.dli_fbase) continue;
    const char* slash = std::strrchr(info.dli_fname, '/');
    const char* name = slash ? slash + 1 : info.dli_fname;
    if (std::strncmp(name, "libc.", 5) != 0 && std::strncmp(name, "libstdc++", 9) != 0) return name;
  }
  return "?";
}

void write_report(const char* what, long number, const char* where = "") {
  if (!report[0]) return;
  char line[300];
  const int length = std::snprintf(line, sizeof line, "%s %ld %s\n", what, number, where);
  const long file = ::syscall(SYS_open, report, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  ::syscall(SYS_write, file, line, length);
  ::syscall(SYS_close, file);
}

void arm_from_environment() {
  const auto text = [](const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
  };
  if (!*text("FIRN_FAULT_CALL")) return;
  std::snprintf(report, sizeof report, "%s", text("FIRN_FAULT_REPORT"));
  caller();  // loads what it needs
  const Fault fault{.call = text("FIRN_FAULT_CALL"),
                    .at = std::atol(text("FIRN_FAULT_AT")),
                    .error = text("FIRN_FAULT_ERROR"),
                    .under = text("FIRN_FAULT_UNDER"),
                    .onward = std::atoi(text("FIRN_FAULT_ONWARD")) != 0};
  if (!arm(fault)) {
    std::fprintf(stderr, "FIRN_FAULT_CALL=%s FIRN_FAULT_ERROR=%s: unknown\n", fault.call, fault.error);
    ::_exit(125);
  }
}

__attribute__((destructor)) void tell_count() { write_report("calls", count); }

}  // namespace

bool arm(const Fault& fault) {
  armed = Kind::none;
  const int kind = value_of(kinds, fault.call);
  error = value_of(errors, fault.error);
  if (kind == 0 || (error == 0 && fault.at > 0)) return false;
  std::snprintf(under, sizeof under, "%s", fault.under ? fault.under : "");
  at = fault.at;
  onward = fault.onward;
  count = 0;
  armed = Kind(kind);
  return true;
}

Verdict judge(Kind kind, int fd, const char* path) {
  if (armed.load(std::memory_order_relaxed) != kind) return Verdict::pass;
  const int kept = errno;
  const bool counts = concerns(fd, path);
  errno = kept;
  if (!counts) return Verdict::pass;
  const long number = ++count;
  if (at == 0 || number < at || (number > at && !onward)) return Verdict::pass;
  if (number == at && report[0]) write_report("failed", number, caller());
  if (error == half_error) return Verdict::half;
  errno = error;
  return Verdict::fail;
}

}  // namespace firn::faults

extern "C" {

// Counts from main on: before it nothing can be caught.
int __libc_start_main(int (*main)(int, char**, char**), int argc, char** argv, void (*init)(), void (*fini)(),
                      void (*end)(), void* stack) {
  static int (*real_main)(int, char**, char**) = main;
  const auto armed_main = [](int count, char** arguments, char** environment) {
    firn::faults::arm_from_environment();
    return real_main(count, arguments, environment);
  };
  return firn::faults::next<decltype(__libc_start_main)>("__libc_start_main")(armed_main, argc, argv, init, fini, end,
                                                                              stack);
}

bool firn_fault_arm(const firn::faults::Fault& fault) { return firn::faults::arm(fault); }
long firn_fault_count() { return firn::faults::count; }
}
