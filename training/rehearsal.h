// Training tried before it begins: every phase on noise, with a state of its own that is thrown away. What a GPU plans
// at first use is planned then, and what fails or hangs does so before there is a run.
#pragma once
#include <functional>

#include "training/config.h"

namespace firn {

struct Rehearsal {
  int operations = 0;  // that were planned
  double seconds = 0;
  bool complete = true;  // false: beside what is there already, memory did not suffice; training may still fit
};

// Runs each phase until it is recorded (engine/replay.h), and a sheet's batches. `data` gives labels; nothing of it is
// read. Told before each operation that is planned: `progress`, with how many and the seconds so far. Errors are those
// of training.
Rehearsal rehearse(const TrainOptions& options, const Device& device, const Dataset& data,
                   const std::function<void(int operations, double seconds)>& progress = {});

}  // namespace firn
