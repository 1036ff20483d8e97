// Wrappers of what allocates; operator new comes here too. Not built with sanitizers, which have an allocator of their
// own.
#include <malloc.h>

#include <cstddef>
#include <cstdint>

#include "arming.h"

using namespace firn::faults;

extern "C" {

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

void* malloc(size_t size) { return fails(Kind::malloc, -1, nullptr) ? nullptr : __libc_malloc(size); }
void* calloc(size_t count, size_t size) {
  return fails(Kind::malloc, -1, nullptr) ? nullptr : __libc_calloc(count, size);
}
void* realloc(void* old, size_t size) { return fails(Kind::malloc, -1, nullptr) ? nullptr : __libc_realloc(old, size); }
void* memalign(size_t alignment, size_t size) {
  return fails(Kind::malloc, -1, nullptr) ? nullptr : __libc_memalign(alignment, size);
}
void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void** to, size_t alignment, size_t size) {
  void* memory = memalign(alignment, size);
  if (!memory) return ENOMEM;
  *to = memory;
  return 0;
}

}  // extern "C"
