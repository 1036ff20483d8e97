// The interpreter's CUDA as a GPU that a kernel has lost: from then on every call fails.
#include <cuda_runtime_api.h>

#include "tests/providers/stand_in.h"

namespace {
using firn::providers::stand_in;

template <class F>
cudaError_t unless_lost(F&& call) {
  return stand_in().lost != cudaSuccess ? stand_in().lost : call();
}
}  // namespace

extern "C" {
cudaError_t __real_cudaEventRecord(cudaEvent_t, cudaStream_t);
cudaError_t __wrap_cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
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
  return unless_lost([&] { return __real_cudaMallocAsync(p, bytes, stream); });
}
cudaError_t __real_cudaMemcpyAsync(void*, const void*, size_t, cudaMemcpyKind, cudaStream_t);
cudaError_t __wrap_cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return unless_lost([&] { return __real_cudaMemcpyAsync(to, from, bytes, kind, stream); });
}
cudaError_t __real_cudaMemsetAsync(void*, int, size_t, cudaStream_t);
cudaError_t __wrap_cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return unless_lost([&] { return __real_cudaMemsetAsync(to, value, bytes, stream); });
}
cudaError_t __real_cudaGraphLaunch(cudaGraphExec_t, cudaStream_t);
cudaError_t __wrap_cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  return unless_lost([&] { return __real_cudaGraphLaunch(graph, stream); });
}
cudaError_t __real_cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t);
cudaError_t __wrap_cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, size_t shared,
                                    cudaStream_t stream) {
  return unless_lost([&] { return __real_cudaLaunchKernel(kernel, grid, block, arguments, shared, stream); });
}
cudaError_t __real___cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t);
cudaError_t __wrap___cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, size_t shared,
                                      cudaStream_t stream) {
  return unless_lost([&] { return __real___cudaLaunchKernel(kernel, grid, block, arguments, shared, stream); });
}
cudaError_t __real_cudaGetLastError();
cudaError_t __wrap_cudaGetLastError() {
  return unless_lost([] { return __real_cudaGetLastError(); });
}
const char* __real_cudaGetErrorString(cudaError_t);
const char* __wrap_cudaGetErrorString(cudaError_t e) {
  return e == cudaErrorIllegalAddress ? "an illegal memory access was encountered" : __real_cudaGetErrorString(e);
}
cudaError_t __real_cudaGetDevice(int*);
cudaError_t __wrap_cudaGetDevice(int* device) {
  const cudaError_t status = __real_cudaGetDevice(device);
  *device = stand_in().device;
  return status;
}
}
