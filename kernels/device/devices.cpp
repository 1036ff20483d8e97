// Which GPUs there are, and the stream of each.
#include <map>

#include "base/error.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/device/memory.h"

#ifdef FIRN_CUDA
#include "kernels/core/cuda_check.h"

namespace firn::kernels {

namespace {

struct Devices {
  int count = 0;
  std::string why_none;  // as why_no_gpu()
};

Devices devices() {
  Devices found;
  const cudaError_t status = cudaGetDeviceCount(&found.count);
  if (status == cudaSuccess) return found;
  cudaGetLastError();
  found.count = 0;
  int driver = 0, runtime = 0;
  const bool known = cudaDriverGetVersion(&driver) == cudaSuccess && cudaRuntimeGetVersion(&runtime) == cudaSuccess;
  // Without any driver, too, it is "insufficient", and has no version.
  if (status == cudaErrorNoDevice || (status == cudaErrorInsufficientDriver && known && driver == 0)) return found;
  found.why_none =
      status == cudaErrorInsufficientDriver && known
          ? fmt::format("the GPU's driver is of CUDA {}.{} and this build needs one of {}.0 or later; update it",
                        driver / 1000, driver % 1000 / 10, runtime / 1000)
          : fmt::format("the GPU cannot be used: CUDA: {}", cudaGetErrorString(status));
  return found;
}

}  // namespace

int cuda_device_count() { return devices().count; }
std::string why_no_gpu() { return devices().why_none; }

Stream cuda_stream(int device_index) {
  const auto [count, why_none] = devices();
  if (device_index >= count)
    throw DeviceError(
        count ? fmt::format("there is no GPU {}: this machine has {}; use --device cpu", device_index, count)
        : why_none.empty() ? std::string("this machine has no usable GPU; use --device cpu")
                           : fmt::format("{}, or use --device cpu", why_none));
  static std::map<int, cudaStream_t> streams;
  auto& stream = streams[device_index];
  check(cudaSetDevice(device_index));
  if (!stream) {
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    // Freed memory stays ours: by default the driver takes it back whenever someone waits.
    cudaMemPool_t memory;
    check(cudaDeviceGetDefaultMemPool(&memory, device_index));
    uint64_t keep = UINT64_MAX;
    check(cudaMemPoolSetAttribute(memory, cudaMemPoolAttrReleaseThreshold, &keep));
  }
  return with({.is_cuda = true, .device = device_index, .cuda = stream}, initial_numerics());
}

}  // namespace firn::kernels

#else

namespace firn::kernels {

int cuda_device_count() { return 0; }
std::string why_no_gpu() { return {}; }
Stream cuda_stream(int) { throw DeviceError("this build has no CUDA; use --device cpu"); }

}  // namespace firn::kernels

#endif
