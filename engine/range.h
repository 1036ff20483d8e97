// A named stretch of host time for a profiler: NVTX in a CUDA build, nothing at all in others. Work on the GPU that is
// queued while it lives is shown under its name. Names are listed in docs/profiling.md.
#pragma once
#include <fmt/core.h>

namespace firn {

#ifdef FIRN_CUDA

class Range {
 public:
  explicit Range(const char* name);
  template <class... Parts>
  explicit Range(fmt::format_string<const Parts&...> name, const Parts&... parts)
      : Range(fmt::format(name, parts...).c_str()) {}
  ~Range();
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
};

#else

struct Range {
  template <class... Parts>
  explicit Range(const char*, const Parts&...) {}  // its name is never put together
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
};

#endif

}  // namespace firn
