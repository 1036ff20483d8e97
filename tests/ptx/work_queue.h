// What the one stream was given: queued, and done as late as CUDA allows, when the host waits; so what the host frees
// or overwrites too early is seen. Or noted, while the stream is captured, for a graph.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

namespace firn::ptx {

struct Work {
  std::function<cudaError_t()> run;
  // What the driver checks when it is given the work, when it makes a graph of it and when it launches that.
  std::function<cudaError_t()> check = [] { return cudaSuccess; };
  bool always = false;  // also after a failure: memory that is given back
};

struct Recording {
  std::vector<Work> work;
  bool invalid = false;  // by a call that is not allowed meanwhile
  cudaError_t check() const;
  cudaError_t run() const;
};

class WorkQueue {
 public:
  cudaError_t add(Work);
  // Does what was added before number `until`. The first failure, after which nothing else is done.
  cudaError_t finish(uint64_t until);
  cudaError_t finish() { return finish(added_); }
  uint64_t added() const { return added_; }
  uint64_t done() const { return added_ - waiting_.size(); }

 private:
  std::deque<Work> waiting_;
  uint64_t added_ = 0;
};

}  // namespace firn::ptx
