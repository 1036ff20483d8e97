// run(stream, Kernel{...}) is the only launch. Each kernels/*.cu is compiled twice: by the host compiler,
// which instantiates run_cpu, and by nvcc, which instantiates run_cuda.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "kernels/types.h"

namespace firn {

struct Stream {
  bool is_cuda = false;
  void* cuda = nullptr;  // cudaStream_t
};

// Counts launches by name while it lives (innermost scope wins). Tests assert on it.
class LaunchCounter {
 public:
  LaunchCounter();
  ~LaunchCounter();
  LaunchCounter(const LaunchCounter&) = delete;
  LaunchCounter& operator=(const LaunchCounter&) = delete;
  int64_t operator[](const std::string& name) const;
  const std::map<std::string, int64_t>& counts() const { return counts_; }

 private:
  friend void note_launch(const char*);
  LaunchCounter* outer_;
  std::map<std::string, int64_t> counts_;
};

void note_launch(const char* name);
[[noreturn]] void throw_without_cuda(const char* kernel);

template <class K>
void run_cpu(const K&);
template <class K>
void run_cuda(const Stream&, const K&);

template <class K>
void run(const Stream& stream, const K& kernel) {
  note_launch(K::name);
  if (!stream.is_cuda) return run_cpu(kernel);
#ifdef FIRN_CUDA
  run_cuda(stream, kernel);
#else
  throw_without_cuda(K::name);
#endif
}

}  // namespace firn
