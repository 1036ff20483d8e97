#include "kernels/device/device_info.h"

#include <unistd.h>

#include <fstream>

#include "base/error.h"
#ifdef FIRN_CUDA
#include "kernels/core/cuda_check.h"
#endif

namespace firn::kernels {
namespace {

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (const size_t colon = line.find(": "); line.starts_with("model name") && colon != line.npos)
      return line.substr(colon + 2);
  return "CPU";
}

}  // namespace

DeviceInfo device_info([[maybe_unused]] const Stream& stream) {
#ifdef FIRN_CUDA
  if (stream.on_gpu()) {
    const auto version = [](int v) { return fmt::format("{}.{}", v / 1000, v % 1000 / 10); };
    int driver = 0, runtime = 0;
    cudaDeviceProp p;
    check(cudaGetDeviceProperties(&p, stream.device));
    check(cudaDriverGetVersion(&driver));
    check(cudaRuntimeGetVersion(&runtime));
    return {p.name,           fmt::format("sm_{}{}", p.major, p.minor), version(driver),      version(runtime),
            p.totalGlobalMem, static_cast<size_t>(p.l2CacheSize),       p.multiProcessorCount};
  }
#endif
  const auto system = [](int name) { return static_cast<size_t>(std::max(0L, sysconf(name))); };
  return {.name = processor(),
          .memory_bytes = system(_SC_PHYS_PAGES) * system(_SC_PAGESIZE),
          .l2_bytes = system(_SC_LEVEL2_CACHE_SIZE),
          .multiprocessors = static_cast<int>(system(_SC_NPROCESSORS_ONLN))};
}

}  // namespace firn::kernels
