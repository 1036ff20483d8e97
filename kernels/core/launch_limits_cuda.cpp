#include "kernels/core/launch_limits.h"

#include <map>

#include "kernels/core/cuda_check.h"

namespace firn {

namespace {

// Sets the limit, and gives it.
int64_t set_limit(const void* kernel, int device) {
  int most = 0;
  cudaFuncAttributes attributes;
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  check(cudaFuncGetAttributes(&attributes, kernel));
  most -= static_cast<int>(attributes.sharedSizeBytes);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most));
  return most;
}

}  // namespace

unsigned grid_of(const char* name, int64_t blocks) {
  if (blocks < 0 || blocks > INT32_MAX)
    throw DeviceError(fmt::format("{}: {} blocks, and a launch has at most {}", name, blocks, INT32_MAX));
  return static_cast<unsigned>(blocks);
}

void allow_shared_memory(const Stream& stream, const void* kernel, const char* name, int64_t bytes) {
  static std::map<std::pair<int, const void*>, int64_t> limits;  // launches come from one thread
  const auto at = std::pair(stream.device, kernel);
  auto limit = limits.find(at);
  if (limit == limits.end()) limit = limits.emplace(at, set_limit(kernel, stream.device)).first;
  if (bytes > limit->second)
    throw DeviceError(fmt::format("{}: a block needs {} bytes of shared memory, and this GPU gives one at most {}",
                                  name, bytes, limit->second));
}

}  // namespace firn
