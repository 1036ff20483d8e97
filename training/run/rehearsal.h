// Training tried before it begins: every phase on noise, with a state of its own that is thrown away. What a GPU plans
// at first use is planned then, and what fails or hangs does so before there is a run.
#pragma once
#include <functional>
#include <string>

#include "training/options/overlay.h"

namespace firn {

struct Rehearsal {
  int64_t operations = 0;    // that were measured
  int64_t to_plan = 0;       // that had no stored plans
  int64_t planned = 0;       // of these
  double seconds = 0;        // so far
  bool complete = true;      // false: beside what is there already, memory did not suffice; training may still fit
  std::string warning = {};  // why nothing could be planned ahead
};

// Plans ahead what a run will ask of a GPU's libraries (kernels/conv/planning.h), then runs each phase until it is
// recorded (engine/replay.h), and a sheet's batches. `data` gives labels; nothing of it is read. `progress` is told
// after each operation that is planned and before each that is measured. Errors are those of training.
Rehearsal rehearse(const TrainOptions& options, const Device& device, const Dataset& data,
                   const std::function<void(const Rehearsal&)>& progress = {});

// Only the planning, for a GPU that need not be there. DeviceError when the description is none.
Rehearsal plan_for(const std::string& gpu_description, const TrainOptions& options, const Dataset& data,
                   const std::function<void(const Rehearsal&)>& progress = {});

}  // namespace firn
