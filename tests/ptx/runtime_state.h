// What the stand-in for libcudart knows between calls.
#pragma once
#include <cuda_runtime_api.h>

#include "tests/ptx/images.h"
#include "tests/ptx/work_queue.h"

namespace firn::ptx {

struct Configuration {
  dim3 grid, block;
  size_t shared = 0;
  cudaStream_t stream = nullptr;
};

struct Event {
  uint64_t at = 0;  // over when so much work is done
  bool recorded = false, captured = false, timed = true;
};

struct PageLocked {
  size_t bytes = 0;
  uint64_t used = 0;  // by queued copies up to this number
};

struct Runtime {
  Checker checker;
  WorkQueue queue;
  std::unique_ptr<Recording> capture;  // of the one stream
  Events events;
  Driver driver;
  std::deque<Image> images;
  std::map<const void*, Symbol> kernels, variables;
  std::map<const void*, size_t> shared_limits;
  std::map<const std::byte*, PageLocked> page_locked;
  std::vector<Configuration> configurations;
  std::set<std::string> executed;
  std::function<void(const Kernel&)> on_launch;
  std::vector<std::string> findings;
  std::string first_finding;
  cudaError_t error = cudaSuccess;
};
Runtime& runtime();

cudaError_t fail(cudaError_t);
void note_finding(const std::string&);

// Shared memory that a block may have, by its own choice and at most.
size_t shared_by_default(const Function&);
size_t most_shared_memory();

cudaError_t launch(const void* host, dim3 grid, dim3 block, void** arguments, size_t shared);
// Queues work, or notes it for the graph that is being captured.
cudaError_t submit(Work);
// Of what must not be called while the stream is captured: after it, there will be no graph.
cudaError_t unless_captured();

// An interpreter's exceptions end here: the code that called is C.
template <class F>
cudaError_t guarded(F&& f) {
  try {
    return f();
  } catch (const std::exception& e) {
    note_finding(e.what());
    return fail(cudaErrorLaunchFailure);
  }
}

}  // namespace firn::ptx
