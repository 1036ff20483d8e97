// What a stream's device is: the heading of every measurement.
#pragma once
#include <cstddef>
#include <string>

#include "kernels/core/run.h"

namespace firn::kernels {

struct DeviceInfo {
  std::string name;             // as its maker calls it
  std::string architecture;     // "sm_90", or empty for a CPU
  std::string driver, runtime;  // CUDA's versions, "13.0", or empty
  size_t memory_bytes = 0, l2_bytes = 0;
  int multiprocessors = 0;  // or cores
};

DeviceInfo device_info(const Stream&);

}  // namespace firn::kernels
