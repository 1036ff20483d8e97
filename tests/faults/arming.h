// Shared by the sources of the preloaded library. It allocates nothing and throws nothing: it runs inside of malloc.
#pragma once
#include <dlfcn.h>

#include <cerrno>

namespace firn::faults {

enum class Kind {
  none,
  open,
  read,
  list,
  write,
  sync,
  rename,
  link,
  unlink,
  truncate,
  mkdir,
  close,
  stat,
  thread,
  malloc
};
enum class Verdict { pass, fail, half };

// Counts the call; errno is set where it must fail. Files are named by path or descriptor (-1 and null: by none).
Verdict judge(Kind kind, int fd, const char* path);
inline bool fails(Kind kind, int fd, const char* path) { return judge(kind, fd, path) == Verdict::fail; }

template <class F>
F* next(const char* name) {  // the function that the program would have called
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace firn::faults
