// A library to preload that writes down, in order and with the data, whatever changes files below FIRN_RECORD_UNDER:
// lines "KIND FILE OFFSET SIZE PATH<tab>PATH\n" and SIZE bytes, appended to FIRN_RECORD. FILE is the inode's number.
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;  // held over a call and its line: lines stand in the order of calls
int log_file = -1;
const char* under = "/";

__attribute__((constructor)) void begin() {
  const char* path = std::getenv("FIRN_RECORD");
  if (const char* root = std::getenv("FIRN_RECORD_UNDER")) under = root;
  if (path) log_file = int(::syscall(SYS_open, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
}

template <class F>
F* next(const char* name) {
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

struct Path {
  char text[4096] = {};
  explicit Path(const char* path) {
    if (path[0] != '/' && ::syscall(SYS_getcwd, text, sizeof text) > 0) std::strcat(text, "/");
    std::strncat(text, path, sizeof text - std::strlen(text) - 1);
  }
  explicit Path(int fd) {
    char link[64];
    std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (::syscall(SYS_readlink, link, text, sizeof text - 1) < 0) text[0] = 0;
  }
  bool counts() const { return log_file >= 0 && std::strncmp(text, under, std::strlen(under)) == 0; }
};

void write_down(const char* kind, unsigned long file, long offset, const Path& path, const char* to = "",
                const void* data = nullptr, size_t size = 0) {
  char line[9000];
  const int length =
      std::snprintf(line, sizeof line, "%s %lu %ld %zu %s\t%s\n", kind, file, offset, size, path.text, to);
  const iovec parts[] = {{line, size_t(length)}, {const_cast<void*>(data), size}};
  if (::syscall(SYS_writev, log_file, parts, 2) != ssize_t(length + size)) ::abort();  // a record with holes is none
}

unsigned long number_of(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 ? info.st_ino : 0;
}

bool is_directory(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
}

// Calls `call` and, where it changed something below the root, `tell`; errno stays what `call` made it.
auto recorded(bool counts, const auto& call, const auto& tell) {
  if (!counts) return call();
  ::pthread_mutex_lock(&order);
  const auto result = call();
  const int error = errno;
  if (result >= 0) tell(result);
  ::pthread_mutex_unlock(&order);
  errno = error;
  return result;
}

int open_recorded(const Path& path, int flags, const auto& call) {
  const bool existed = ::syscall(SYS_access, path.text, F_OK) == 0;
  return recorded(path.counts() && (flags & (O_CREAT | O_TRUNC)) != 0, call, [&](int fd) {
    if (!existed || (flags & O_TRUNC)) write_down(existed ? "truncate" : "create", number_of(fd), 0, path);
  });
}

auto write_recorded(int fd, const auto& call, const auto& tell) {
  const Path path(fd);
  return recorded(path.counts(), call,
                  [&](ssize_t size) { tell(path, ::lseek(fd, 0, SEEK_CUR) - size, size_t(size)); });
}

int sync_recorded(const char* name, int fd) {
  const Path path(fd);
  return recorded(
      path.counts(), [&] { return next<decltype(fsync)>(name)(fd); },
      [&](int) { write_down(is_directory(fd) ? "sync-directory" : "sync", number_of(fd), 0, path); });
}

int remove_recorded(const char* path, const auto& call) {
  const Path full(path);
  return recorded(full.counts(), call, [&](int) { write_down("unlink", 0, 0, full); });
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
  va_end(list);
  return open_recorded(Path(path), flags, [&] { return next<decltype(open)>("open")(path, flags, mode); });
}
ssize_t write(int fd, const void* from, size_t size) {
  return write_recorded(
      fd, [&] { return next<decltype(write)>("write")(fd, from, size); },
      [&](const Path& path, long offset, size_t n) { write_down("write", number_of(fd), offset, path, "", from, n); });
}
ssize_t writev(int fd, const iovec* parts, int count) {
  return write_recorded(
      fd, [&] { return next<decltype(writev)>("writev")(fd, parts, count); },
      [&](const Path& path, long offset, size_t n) {
        for (int i = 0; i < count && n > 0; ++i) {
          const size_t part = parts[i].iov_len < n ? parts[i].iov_len : n;
          write_down("write", number_of(fd), offset, path, "", parts[i].iov_base, part);
          offset += long(part);
          n -= part;
        }
      });
}
int fsync(int fd) { return sync_recorded("fsync", fd); }
int fdatasync(int fd) { return sync_recorded("fdatasync", fd); }
int ftruncate(int fd, off_t size) {
  const Path path(fd);
  return recorded(
      path.counts(), [&] { return next<decltype(ftruncate)>("ftruncate")(fd, size); },
      [&](int) { write_down("truncate", number_of(fd), size, path); });
}
int truncate(const char* path, off_t size) {
  const Path full(path);
  struct stat info {};
  ::stat(path, &info);
  return recorded(
      full.counts(), [&] { return next<decltype(truncate)>("truncate")(path, size); },
      [&](int) { write_down("truncate", info.st_ino, size, full); });
}
int rename(const char* from, const char* to) {
  const Path target(to);
  return recorded(
      target.counts(), [&] { return next<decltype(rename)>("rename")(from, to); },
      [&](int) { write_down("rename", 0, 0, Path(from), target.text); });
}
int link(const char* from, const char* to) {
  const Path target(to);
  return recorded(
      target.counts(), [&] { return next<decltype(link)>("link")(from, to); },
      [&](int) { write_down("link", 0, 0, Path(from), target.text); });
}
int mkdir(const char* path, mode_t mode) {
  const Path full(path);
  return recorded(
      full.counts(), [&] { return next<decltype(mkdir)>("mkdir")(path, mode); },
      [&](int) { write_down("mkdir", 0, 0, full); });
}
int unlink(const char* path) {
  return remove_recorded(path, [&] { return next<decltype(unlink)>("unlink")(path); });
}
int remove(const char* path) {
  return remove_recorded(path, [&] { return next<decltype(remove)>("remove")(path); });
}

// Names of old for 64-bit offsets, which every offset has here.
int open64(const char*, int, ...) __attribute__((alias("open")));
int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
int truncate64(const char*, off_t) __attribute__((alias("truncate")));

}  // extern "C"
