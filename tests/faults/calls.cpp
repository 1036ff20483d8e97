// Wrappers of the calls that touch files. glibc's own streams call the system from inside, so fopen and fread are here
// too.
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>

#include "arming.h"

namespace firn::faults {
namespace {

// Wraps functions that return -1 when they fail.
template <class F, class... Args>
auto checked(const char* name, Kind kind, int fd, const char* path, Args... args) {
  using Result = decltype(static_cast<F*>(nullptr)(args...));
  return fails(kind, fd, path) ? Result(-1) : next<F>(name)(args...);
}

size_t part(Verdict verdict, size_t size) { return verdict == Verdict::half && size > 1 ? size / 2 : size; }

mode_t mode_of(int flags, va_list list) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; }

// A path below a directory that is open counts as that directory's, unless it is absolute.
struct At {
  int fd;
  const char* path;
  At(int directory, const char* name)
      : fd(directory), path(directory == AT_FDCWD || (name && name[0] == '/') ? name : nullptr) {}
};

}  // namespace
}  // namespace firn::faults

using namespace firn::faults;

extern "C" {

int open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = mode_of(flags, list);
  va_end(list);
  return fails(Kind::open, -1, path) ? -1 : next<decltype(open)>("open")(path, flags, mode);
}
int openat(int directory, const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = mode_of(flags, list);
  va_end(list);
  const At at(directory, path);
  return fails(Kind::open, at.fd, at.path) ? -1 : next<decltype(openat)>("openat")(directory, path, flags, mode);
}
FILE* fopen(const char* path, const char* mode) {
  return fails(Kind::open, -1, path) ? nullptr : next<decltype(fopen)>("fopen")(path, mode);
}
DIR* opendir(const char* path) {
  return fails(Kind::open, -1, path) ? nullptr : next<decltype(opendir)>("opendir")(path);
}
dirent* readdir(DIR* dir) {
  return fails(Kind::list, ::dirfd(dir), nullptr) ? nullptr : next<decltype(readdir)>("readdir")(dir);
}

ssize_t read(int fd, void* to, size_t size) {
  const Verdict verdict = judge(Kind::read, fd, nullptr);
  return verdict == Verdict::fail ? -1 : next<decltype(read)>("read")(fd, to, part(verdict, size));
}
ssize_t pread(int fd, void* to, size_t size, off_t offset) {
  const Verdict verdict = judge(Kind::read, fd, nullptr);
  return verdict == Verdict::fail ? -1 : next<decltype(pread)>("pread")(fd, to, part(verdict, size), offset);
}
size_t fread(void* to, size_t size, size_t count, FILE* file) {
  const Verdict verdict = judge(Kind::read, ::fileno(file), nullptr);
  if (verdict != Verdict::fail) return next<decltype(fread)>("fread")(to, size, count, file);
  file->_flags |= 0x20;  // what ferror() asks for
  return 0;
}

ssize_t write(int fd, const void* from, size_t size) {
  const Verdict verdict = judge(Kind::write, fd, nullptr);
  return verdict == Verdict::fail ? -1 : next<decltype(write)>("write")(fd, from, part(verdict, size));
}
ssize_t pwrite(int fd, const void* from, size_t size, off_t offset) {
  const Verdict verdict = judge(Kind::write, fd, nullptr);
  return verdict == Verdict::fail ? -1 : next<decltype(pwrite)>("pwrite")(fd, from, part(verdict, size), offset);
}
ssize_t writev(int fd, const iovec* parts, int count) {
  const Verdict verdict = judge(Kind::write, fd, nullptr);
  if (verdict == Verdict::half && count > 1) count /= 2;
  return verdict == Verdict::fail ? -1 : next<decltype(writev)>("writev")(fd, parts, count);
}
int fsync(int fd) { return checked<decltype(fsync)>("fsync", Kind::sync, fd, nullptr, fd); }
int fdatasync(int fd) { return checked<decltype(fdatasync)>("fdatasync", Kind::sync, fd, nullptr, fd); }
int ftruncate(int fd, off_t size) {
  return checked<decltype(ftruncate)>("ftruncate", Kind::truncate, fd, nullptr, fd, size);
}
int truncate(const char* path, off_t size) {
  return checked<decltype(truncate)>("truncate", Kind::truncate, -1, path, path, size);
}

int rename(const char* from, const char* to) {
  return checked<decltype(rename)>("rename", Kind::rename, -1, to, from, to);
}
int renameat(int from_dir, const char* from, int to_dir, const char* to) {
  const At at(to_dir, to);
  return checked<decltype(renameat)>("renameat", Kind::rename, at.fd, at.path, from_dir, from, to_dir, to);
}
int link(const char* from, const char* to) { return checked<decltype(link)>("link", Kind::link, -1, to, from, to); }
int unlink(const char* path) { return checked<decltype(unlink)>("unlink", Kind::unlink, -1, path, path); }
int remove(const char* path) { return checked<decltype(remove)>("remove", Kind::unlink, -1, path, path); }
int unlinkat(int directory, const char* path, int flags) {
  const At at(directory, path);
  return checked<decltype(unlinkat)>("unlinkat", Kind::unlink, at.fd, at.path, directory, path, flags);
}
int mkdir(const char* path, mode_t mode) {
  return checked<decltype(mkdir)>("mkdir", Kind::mkdir, -1, path, path, mode);
}
int stat(const char* path, struct stat* to) { return checked<decltype(stat)>("stat", Kind::stat, -1, path, path, to); }
int lstat(const char* path, struct stat* to) {
  return checked<decltype(lstat)>("lstat", Kind::stat, -1, path, path, to);
}
int close(int fd) {  // the descriptor is gone either way, as on Linux
  const bool failed = fails(Kind::close, fd, nullptr);
  const int error = errno, result = next<decltype(close)>("close")(fd);
  if (failed) errno = error;
  return failed ? -1 : result;
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*), void* argument) {
  if (fails(Kind::thread, -1, nullptr)) return errno;
  return next<decltype(pthread_create)>("pthread_create")(thread, attributes, body, argument);
}

// Names of old for 64-bit offsets, which every offset has here.
int open64(const char*, int, ...) __attribute__((alias("open")));
int openat64(int, const char*, int, ...) __attribute__((alias("openat")));
FILE* fopen64(const char*, const char*) __attribute__((alias("fopen")));
dirent64* readdir64(DIR*) __attribute__((alias("readdir")));
ssize_t pread64(int, void*, size_t, off_t) __attribute__((alias("pread")));
ssize_t pwrite64(int, const void*, size_t, off_t) __attribute__((alias("pwrite")));
int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
int stat64(const char*, struct stat64*) __attribute__((alias("stat")));
int lstat64(const char*, struct stat64*) __attribute__((alias("lstat")));
int truncate64(const char*, off_t) __attribute__((alias("truncate")));

}  // extern "C"
