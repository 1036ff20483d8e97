// Which device a process drives: of several on one machine, each has a GPU of its own.
#pragma once
#include <string_view>

#include "engine/communicator.h"
#include "engine/device.h"

namespace firn {

// As Device::from_name, but for "cuda" and "auto", which give each of several processes on a machine the GPU of its
// place among them. DeviceError where there are fewer GPUs than such processes.
Device device_for(std::string_view name, const Communicator& processes);

}  // namespace firn
