// The interpreter's CUDA as a GPU that a kernel has lost: from then on every call fails. And as two GPUs: what is of
// one is refused while the other is current.
#include <cuda_runtime_api.h>

#include <map>
#include <utility>

#include "tests/providers/stand_in.h"

namespace {
using firn::providers::device_of;
using firn::providers::is_second;
using firn::providers::stand_in;

template <class F>
cudaError_t unless_lost(F&& call) {
  return stand_in().lost != cudaSuccess ? stand_in().lost : call();
}
char streams[2], second_streams[2];  // of each GPU
bool made[2];                        // the first one was
struct EventOf {
  int device;
  bool second = false;  // recorded on a second stream
  size_t at = 0;        // in StandIn::beside, behind the first `submitted`
};
std::map<cudaEvent_t, EventOf> events;
size_t submitted = 0;

template <class F>
cudaError_t on_its_gpu(cudaStream_t stream, F&& call) {
  if (device_of(stream) != stand_in().device) return cudaErrorInvalidResourceHandle;
  if (is_second(stream)) firn::ptx::note_finding("only NCCL's work is on a second stream");
  stand_in().behind = false;
  return unless_lost(call);
}
}  // namespace

bool firn::providers::is_second(cudaStream_t stream) {
  const auto* const s = reinterpret_cast<const char*>(stream);
  return s == second_streams || s == second_streams + 1;
}

int firn::providers::device_of(cudaStream_t stream) {
  const auto* const s = reinterpret_cast<const char*>(stream);
  if (is_second(stream)) return static_cast<int>(s - second_streams);
  return s == streams || s == streams + 1 ? static_cast<int>(s - streams) : stand_in().device;
}

extern "C" {
cudaError_t __real_cudaGetDeviceCount(int*);
cudaError_t __wrap_cudaGetDeviceCount(int* count) {
  const cudaError_t status = __real_cudaGetDeviceCount(count);
  *count *= stand_in().gpus;
  return status;
}
cudaError_t __real_cudaStreamCreateWithFlags(cudaStream_t*, unsigned);
cudaError_t __wrap_cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const bool second = std::exchange(made[stand_in().device], true);
  *stream = reinterpret_cast<cudaStream_t>((second ? second_streams : streams) + stand_in().device);
  return cudaSuccess;
}
cudaError_t __real_cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned);
cudaError_t __wrap_cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  const EventOf& of = events[event];
  if (of.device != device_of(stream)) return cudaErrorInvalidResourceHandle;
  if (is_second(stream) && !of.second) stand_in().behind = true;
  if (!is_second(stream) && of.second && of.at > submitted) {
    std::vector<firn::ptx::Work>& works = stand_in().beside;
    ++stand_in().joins;
    for (; submitted < of.at && !works.empty(); ++submitted) {
      if (const cudaError_t status = firn::ptx::submit(std::move(works.front())); status != cudaSuccess) return status;
      works.erase(works.begin());
    }
  }
  return unless_lost([&] { return __real_cudaStreamWaitEvent(stream, event, flags); });
}
cudaError_t __real_cudaEventCreate(cudaEvent_t*);
cudaError_t __wrap_cudaEventCreate(cudaEvent_t* event) {
  const cudaError_t status = __real_cudaEventCreate(event);
  events[*event] = {stand_in().device};
  return status;
}
cudaError_t __real_cudaEventCreateWithFlags(cudaEvent_t*, unsigned);
cudaError_t __wrap_cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  const cudaError_t status = __real_cudaEventCreateWithFlags(event, flags);
  events[*event] = {stand_in().device};
  return status;
}
cudaError_t __real_cudaEventRecord(cudaEvent_t, cudaStream_t);
cudaError_t __wrap_cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  EventOf& of = events[event];
  if (of.device != device_of(stream)) return cudaErrorInvalidResourceHandle;
  of.second = is_second(stream);
  of.at = submitted + stand_in().beside.size();
  return unless_lost([&] { return __real_cudaEventRecord(event, stream); });
}
cudaError_t __real_cudaEventSynchronize(cudaEvent_t);
cudaError_t __wrap_cudaEventSynchronize(cudaEvent_t event) {
  return unless_lost([&] { return __real_cudaEventSynchronize(event); });
}
cudaError_t __real_cudaStreamSynchronize(cudaStream_t);
cudaError_t __wrap_cudaStreamSynchronize(cudaStream_t stream) {
  return unless_lost([&] { return __real_cudaStreamSynchronize(stream); });
}
cudaError_t __real_cudaFreeAsync(void*, cudaStream_t);
cudaError_t __wrap_cudaFreeAsync(void* p, cudaStream_t stream) {
  return unless_lost([&] { return __real_cudaFreeAsync(p, stream); });
}
cudaError_t __real_cudaMallocAsync(void**, size_t, cudaStream_t);
cudaError_t __wrap_cudaMallocAsync(void** p, size_t bytes, cudaStream_t stream) {
  stand_in().allocated.push_back(bytes);
  return on_its_gpu(stream, [&] { return __real_cudaMallocAsync(p, bytes, stream); });
}
cudaError_t __real_cudaMemcpyAsync(void*, const void*, size_t, cudaMemcpyKind, cudaStream_t);
cudaError_t __wrap_cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  stand_in().behind = false;
  return unless_lost([&] { return __real_cudaMemcpyAsync(to, from, bytes, kind, stream); });
}
cudaError_t __real_cudaMemsetAsync(void*, int, size_t, cudaStream_t);
cudaError_t __wrap_cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return on_its_gpu(stream, [&] { return __real_cudaMemsetAsync(to, value, bytes, stream); });
}
cudaError_t __real_cudaGraphLaunch(cudaGraphExec_t, cudaStream_t);
cudaError_t __wrap_cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  stand_in().behind = false;
  return unless_lost([&] { return __real_cudaGraphLaunch(graph, stream); });
}
cudaError_t __real_cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t);
cudaError_t __wrap_cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, size_t shared,
                                    cudaStream_t stream) {
  return on_its_gpu(stream, [&] { return __real_cudaLaunchKernel(kernel, grid, block, arguments, shared, stream); });
}
cudaError_t __real___cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t);
cudaError_t __wrap___cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, size_t shared,
                                      cudaStream_t stream) {
  return on_its_gpu(stream, [&] { return __real___cudaLaunchKernel(kernel, grid, block, arguments, shared, stream); });
}
cudaError_t __real_cudaGetLastError();
cudaError_t __wrap_cudaGetLastError() {
  return unless_lost([] { return __real_cudaGetLastError(); });
}
const char* __real_cudaGetErrorString(cudaError_t);
const char* __wrap_cudaGetErrorString(cudaError_t e) {
  return e == cudaErrorIllegalAddress ? "an illegal memory access was encountered" : __real_cudaGetErrorString(e);
}
cudaError_t __wrap_cudaSetDevice(int device) {
  if (device < 0 || device >= stand_in().gpus) return cudaErrorInvalidDevice;
  stand_in().device = device;
  return cudaSuccess;
}
}
