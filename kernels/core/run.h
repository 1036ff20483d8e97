// run(stream, Kernel{...}) is the only launch. Each kernels/*.cu is compiled twice: by the host compiler,
// which instantiates run_cpu, and by nvcc, which instantiates run_cuda.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "kernels/core/types.h"

namespace firn {

namespace kernels {
struct Numerics;  // kernels/provider_numerics.h
}

struct Stream {
  bool is_cuda = false;
  int device = 0;        // the GPU's number
  void* cuda = nullptr;  // cudaStream_t
  bool dry = false;  // of a GPU that need not be there: nothing runs, operations are noted (kernels/conv/planning.h)
  const kernels::Numerics* numerics = nullptr;  // what libraries may do; null: nothing that rounds
  bool on_gpu() const { return is_cuda && !dry; }
};

// Of convolutions and matrix products that kernels/conv/conv.h and kernels/gemm/gemm.h were asked for, padding
// included: on the CPU, of all. `done`: by the algorithm that was taken, where that is not the direct one.
struct Flops {
  double direct = 0, done = 0;
};
Flops flops_so_far();  // of this process
void note_flops(double direct, double done);
inline void note_flops(double direct) { note_flops(direct, direct); }

// Counts launches by name (innermost scope wins), and FLOPs, while it lives. Tests assert on it.
class LaunchCounter {
 public:
  LaunchCounter();
  ~LaunchCounter();
  LaunchCounter(const LaunchCounter&) = delete;
  LaunchCounter& operator=(const LaunchCounter&) = delete;
  int64_t operator[](const std::string& name) const;
  const std::map<std::string, int64_t>& counts() const { return counts_; }
  double flops() const { return flops_so_far().direct - begin_.direct; }
  double done() const { return flops_so_far().done - begin_.done; }

 private:
  friend void note_launch(const char*);
  LaunchCounter* outer_;
  Flops begin_ = flops_so_far();
  std::map<std::string, int64_t> counts_;
};

void note_launch(const char* name);
[[noreturn]] void throw_without_cuda(const char* kernel);
[[noreturn]] void throw_on_cpu(const char* kernel);
[[noreturn]] void throw_on_cuda(const char* kernel);

// A kernel whose number of threads is the algorithm: it states `threads`, `blocks_at_once` (on a multiprocessor) and
// the shared memory of a launch, and its body takes that memory in place of a Team.
template <class K>
concept CudaOnly = requires(const K& k) {
  k.shared_bytes();
};

// A kernel for which a GPU has another algorithm: it states `cpu_only`, and nvcc compiles nothing of it.
template <class K>
concept CpuOnly = K::cpu_only;

template <class K>
void run_cpu(const K&);
template <class K>
void run_cuda(const Stream&, const K&);

template <class K>
void run(const Stream& stream, const K& kernel) {
  note_launch(K::name);
  if (stream.dry) return;
  if constexpr (CudaOnly<K>) {
    if (!stream.is_cuda) throw_on_cpu(K::name);
  } else {
    if (!stream.is_cuda) return run_cpu(kernel);
  }
#ifdef FIRN_CUDA
  if constexpr (CpuOnly<K>)
    throw_on_cuda(K::name);
  else
    run_cuda(stream, kernel);
#else
  throw_without_cuda(K::name);
#endif
}

}  // namespace firn
