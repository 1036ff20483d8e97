// Every CUDA status becomes a DeviceError with the place that saw it.
#pragma once
#include <cuda_runtime_api.h>

#include "kernels/error.h"

namespace firn {

inline void check(cudaError_t status, std::source_location at = std::source_location::current()) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // CUDA remembers it, and the next launch that is checked would be blamed for it
  throw DeviceError(std::string("CUDA: ") + cudaGetErrorString(status), at);
}

}  // namespace firn
