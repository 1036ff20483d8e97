// Every CUDA status becomes a DeviceError with the place that saw it, and every stream's GPU is made current before
// CUDA is called with it.
#pragma once
#include <cuda_runtime_api.h>

#include "base/error.h"
#include "kernels/core/run.h"

namespace firn {

// Whether it ends the process's use of the GPU: every later call returns it again.
inline bool is_lasting(cudaError_t status) {
  switch (status) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorExternalDevice:
      return true;
    default:  // cudaErrorContained and cudaErrorTensorMemoryLeak, which older toolkits do not name
      return static_cast<int>(status) == 226 || static_cast<int>(status) == 721;
  }
}

inline void check(cudaError_t status, std::source_location at = std::source_location::current()) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // CUDA remembers it, and the next launch that is checked would be blamed for it
  if (status == cudaErrorMemoryAllocation)
    throw OutOfMemory(
        "CUDA: out of memory; a smaller batch at once needs less (--batch-gpu of gan-train, --batch of "
        "gan-sample)",
        at);
  if (is_lasting(status))
    throw DeviceLost(std::string("CUDA: ") + cudaGetErrorString(status), "the program has to be started again", at);
  throw DeviceError(std::string("CUDA: ") + cudaGetErrorString(status), at);
}

// The stream as CUDA knows it. Its GPU is current from now on: what is launched, made or asked for next is of that one.
inline cudaStream_t current(const Stream& stream, std::source_location at = std::source_location::current()) {
  check(cudaSetDevice(stream.device), at);
  return static_cast<cudaStream_t>(stream.cuda);
}

// Where a library reports a failure: a GPU that is lost is the reason.
inline void check_alive(std::source_location at) {
  if (const cudaError_t status = cudaGetLastError(); is_lasting(status)) check(status, at);
}

}  // namespace firn
