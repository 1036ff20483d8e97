#include "tests/ptx/work_queue.h"

#include "tests/ptx/runtime_state.h"

namespace firn::ptx {
namespace {
constexpr size_t kLongest = 1024;  // then the host waits for the oldest, as for a GPU
}

cudaError_t Recording::check() const {
  for (const Work& w : work)
    if (const cudaError_t status = w.check(); status != cudaSuccess) return status;
  return cudaSuccess;
}

cudaError_t Recording::run() const {
  for (const Work& w : work)
    if (const cudaError_t status = w.run(); status != cudaSuccess) return status;
  return cudaSuccess;
}

cudaError_t WorkQueue::add(Work work) {
  waiting_.push_back(std::move(work));
  ++added_;
  return waiting_.size() > kLongest ? finish(done() + 1) : cudaSuccess;
}

cudaError_t WorkQueue::finish(uint64_t until) {
  cudaError_t failure = cudaSuccess;
  while (!waiting_.empty() && (failure != cudaSuccess || done() < until)) {
    const Work work = std::move(waiting_.front());
    waiting_.pop_front();
    if (failure != cudaSuccess && !work.always) continue;
    if (const cudaError_t status = guarded(work.run); failure == cudaSuccess) failure = status;
  }
  return failure;
}

}  // namespace firn::ptx
