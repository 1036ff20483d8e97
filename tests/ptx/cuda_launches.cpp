// What nvcc's host code calls before main and around a launch, and what the project asks of kernels and devices.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "tests/ptx/runtime_state.h"

using namespace firn::ptx;

extern "C" {
void** __cudaRegisterFatBinary(void* wrapper) {
  const char* binary;
  std::memcpy(&binary, static_cast<char*>(wrapper) + 8, sizeof binary);
  try {
    runtime().images.push_back(image_of(binary));
  } catch (const firn::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    std::exit(1);
  }
  return reinterpret_cast<void**>(&runtime().images.back());
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void** image, const char* host, char*, const char* name, int, void*, void*, void*, void*,
                            int*) {
  runtime().kernels[host] = {reinterpret_cast<Image*>(image), name};
}
void __cudaRegisterVar(void** image, char* host, char*, const char* name, int, size_t, int, int) {
  runtime().variables[host] = {reinterpret_cast<Image*>(image), name};
}
char __cudaInitModule(void**) { return 0; }
cudaError_t __cudaGetKernel(const void** kernel, const void* host) {
  *kernel = host;
  return cudaSuccess;
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
  runtime().configurations.push_back({grid, block, shared, stream});
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  const auto c = runtime().configurations.back();
  runtime().configurations.pop_back();
  *grid = c.grid;
  *block = c.block;
  *shared = c.shared;
  *static_cast<cudaStream_t*>(stream) = c.stream;
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(const void* host, dim3 grid, dim3 block, void** arguments, size_t shared, cudaStream_t) {
  return guarded([&] { return launch(host, grid, block, arguments, shared); });
}
cudaError_t cudaLaunchKernel(const void* host, dim3 grid, dim3 block, void** arguments, size_t shared, cudaStream_t s) {
  return __cudaLaunchKernel(host, grid, block, arguments, shared, s);
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* host) {
  return guarded([&] {
    const auto found = runtime().kernels.find(host);
    if (found == runtime().kernels.end()) return fail(cudaErrorInvalidDeviceFunction);
    *attributes = {};
    attributes->sharedSizeBytes = kernel_of(found->second).function->packed_shared_bytes;
    return cudaSuccess;
  });
}
cudaError_t cudaFuncSetAttribute(const void* host, cudaFuncAttribute attribute, int value) {
  return guarded([&] {
    const auto found = runtime().kernels.find(host);
    if (found == runtime().kernels.end()) return fail(cudaErrorInvalidDeviceFunction);
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
        static_cast<size_t>(value) + kernel_of(found->second).function->packed_shared_bytes > most_shared_memory())
      return fail(cudaErrorInvalidValue);
    runtime().shared_limits[host] = static_cast<size_t>(value);
    return cudaSuccess;
  });
}

cudaError_t cudaGetLastError() { return std::exchange(runtime().error, cudaSuccess); }
const char* cudaGetErrorString(cudaError_t e) {
  switch (e) {
    case cudaSuccess:
      return "no error";
    case cudaErrorLaunchFailure:
      return runtime().first_finding.c_str();
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorLaunchOutOfResources:
      return "too many resources requested for launch";
    default:
      return "invalid launch or argument";
  }
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = runtime().driver.devices == cudaSuccess;
  return runtime().driver.devices == cudaSuccess ? cudaSuccess : fail(runtime().driver.devices);
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : fail(cudaErrorInvalidDevice); }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "an interpreter");
  properties->major = gpu()[3] - '0';
  properties->minor = gpu()[4] - '0';
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = runtime().driver.version;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      return *value = gpu()[3] - '0', cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      return *value = gpu()[4] - '0', cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return *value = static_cast<int>(most_shared_memory()), cudaSuccess;
    default:
      return fail(cudaErrorInvalidValue);
  }
}
}
