// The part of CUDA's interface that the project calls for streams, graphs, events and memory.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "tests/ptx/runtime_state.h"

using namespace firn::ptx;

namespace {

Event& event_of(cudaEvent_t e) { return *reinterpret_cast<Event*>(e); }

PageLocked* page_locked_at(const void* p) {
  const auto* at = static_cast<const std::byte*>(p);
  auto after = runtime().page_locked.upper_bound(at);
  if (after == runtime().page_locked.begin() || at >= std::prev(after)->first + std::prev(after)->second.bytes)
    return nullptr;
  return &std::prev(after)->second;
}

}  // namespace

extern "C" {
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  static int only;
  *stream = reinterpret_cast<cudaStream_t>(&only);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }  // of the only stream
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  if (unless_captured() != cudaSuccess) return runtime().error;
  const cudaError_t status = finish();
  return status == cudaSuccess ? status : fail(status);
}

// Graphs: what was captured is done again by each launch.
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  if (unless_captured() != cudaSuccess) return runtime().error;
  runtime().capture = std::make_unique<Recording>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  *graph = nullptr;
  const std::shared_ptr<Recording> recording(std::move(runtime().capture));
  if (!recording) return fail(cudaErrorInvalidValue);
  if (recording->invalid) return fail(cudaErrorStreamCaptureInvalidated);
  *graph = reinterpret_cast<cudaGraph_t>(new std::shared_ptr<Recording>(recording));
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  const auto& recording = *reinterpret_cast<std::shared_ptr<Recording>*>(graph);
  if (runtime().driver.refused_graphs > 0) return --runtime().driver.refused_graphs, fail(cudaErrorMemoryAllocation);
  if (const cudaError_t status = recording->check(); status != cudaSuccess) return fail(status);
  *executable = reinterpret_cast<cudaGraphExec_t>(new std::shared_ptr<Recording>(recording));
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  const auto& recording = *reinterpret_cast<std::shared_ptr<Recording>*>(executable);
  return submit({[recording] { return recording->run(); }, [recording] { return recording->check(); }});
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete reinterpret_cast<std::shared_ptr<Recording>*>(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return cudaGraphDestroy(reinterpret_cast<cudaGraph_t>(executable));
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  const bool capturing = runtime().capture || runtime().events.capturing;
  *status = !capturing                                        ? cudaStreamCaptureStatusNone
            : runtime().capture && runtime().capture->invalid ? cudaStreamCaptureStatusInvalidated
                                                              : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

// Events.
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = reinterpret_cast<cudaEvent_t>(new Event{.timed = !(flags & cudaEventDisableTiming)});
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete &event_of(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  const bool captured = runtime().capture != nullptr;
  if (captured && runtime().capture->invalid) return fail(cudaErrorStreamCaptureInvalidated);
  event_of(event) = {runtime().queue.added(), true, captured, event_of(event).timed};
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  ++runtime().events.waits;
  if (unless_captured() != cudaSuccess) return runtime().error;
  if (event_of(event).captured) return fail(cudaErrorCapturedEvent);
  if (runtime().events.ignored) return cudaSuccess;
  const cudaError_t status = runtime().queue.finish(event_of(event).at);
  return status == cudaSuccess ? status : fail(status);
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  for (const cudaEvent_t e : {from, to}) {
    if (!event_of(e).recorded || !event_of(e).timed || event_of(e).captured)
      return fail(cudaErrorInvalidResourceHandle);
    if (runtime().queue.done() < event_of(e).at) return fail(cudaErrorNotReady);
  }
  *ms = 1e3f / static_cast<float>(std::max(1, runtime().events.waits));
  return cudaSuccess;
}

// Memory. No driver gives anything for 0 bytes.
cudaError_t cudaMallocHost(void** p, size_t bytes) {
  if (unless_captured() != cudaSuccess) return runtime().error;
  if (bytes == 0) return fail(cudaErrorInvalidValue);
  *p = std::malloc(bytes);
  if (!*p) return fail(cudaErrorMemoryAllocation);
  runtime().page_locked[static_cast<std::byte*>(*p)] = {bytes, 0};
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* p) {
  if (unless_captured() != cudaSuccess) return runtime().error;
  return guarded([&] {
    const auto found = runtime().page_locked.find(static_cast<std::byte*>(p));
    if (found == runtime().page_locked.end()) return fail(cudaErrorInvalidValue);
    if (found->second.used > runtime().queue.done()) {
      runtime().queue.finish();
      throw firn::Error("PTX runtime: page-locked memory is freed that a queued copy uses");
    }
    runtime().page_locked.erase(found);
    std::free(p);
    return cudaSuccess;
  });
}
cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t) {
  if (unless_captured() != cudaSuccess) return runtime().error;
  if (bytes == 0) return fail(cudaErrorInvalidValue);
  *p = runtime().checker.allocate(bytes);
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t) {
  if (unless_captured() != cudaSuccess) return runtime().error;
  return submit({.run = [p] { return runtime().checker.release(p), cudaSuccess; }, .always = true});
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  if (bytes == 0) return cudaSuccess;
  return submit({[=] {
    std::byte* const first = static_cast<std::byte*>(to);  // its ends: what is set is not read in this project
    runtime().checker.host_access(first, 1, Access::write);
    runtime().checker.host_access(first + bytes - 1, 1, Access::write);
    std::memset(to, value, bytes);
    return cudaSuccess;
  }});
}
// What is not page-locked is read before the call returns, or written; a graph would do so when it is launched.
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
  if (bytes == 0) return cudaSuccess;
  PageLocked* const host = kind == cudaMemcpyHostToDevice   ? page_locked_at(from)
                           : kind == cudaMemcpyDeviceToHost ? page_locked_at(to)
                                                            : nullptr;
  const bool paged = kind != cudaMemcpyDeviceToDevice && !host;
  if (paged && unless_captured() != cudaSuccess) return runtime().error;
  const auto copy = [=](const void* source) {
    if (kind != cudaMemcpyDeviceToHost) runtime().checker.host_access(to, bytes, Access::write);
    if (kind != cudaMemcpyHostToDevice) runtime().checker.host_access(from, bytes, Access::read);
    std::memcpy(to, source, bytes);
    return cudaSuccess;
  };
  Work work{[=] { return copy(from); }};
  if (kind == cudaMemcpyHostToDevice && paged) {
    const auto* first = static_cast<const std::byte*>(from);
    work.run = [copy, staged = std::vector<std::byte>(first, first + bytes)] { return copy(staged.data()); };
  }
  if (const cudaError_t status = submit(std::move(work)); status != cudaSuccess) return status;
  if (host) host->used = runtime().queue.added();
  return kind == cudaMemcpyDeviceToHost && paged ? cudaStreamSynchronize(nullptr) : cudaSuccess;
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = size_t{1} << 30;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return unless_captured(); }
}
