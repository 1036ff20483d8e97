#include "engine/placement.h"

#include "base/error.h"
#include "kernels/device/memory.h"

namespace firn {

Device device_for(std::string_view name, const Communicator& processes) {
  const int gpus = kernels::cuda_device_count(), all = processes.on_this_machine();
  if (all == 1 || gpus == 0 || (name != "auto" && name != "cuda")) return Device::from_name(name);
  if (processes.place() < gpus) return Device::cuda(processes.place());
  throw DeviceError(fmt::format(
      "{} has no GPU of its own: of {} processes there, each sees {} GPU{}; start as many, or give --device "
      "cuda:0 where a scheduler shows each process its own alone",
      processes.name_of(processes.rank()), all, gpus, gpus == 1 ? "" : "s"));
}

}  // namespace firn
