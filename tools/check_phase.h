// Networks of a snapshot on some device and in some type, and one phase of a training step on given inputs: what both
// uses of gan-check share. Constant noise, no style mixing.
#pragma once
#include <string>

#include "training/objectives/objective.h"
#include "training/state/snapshot.h"

namespace firn::tools {

struct Check {
  // `type` is f32, f64 or bf16 (activations; parameters stay f32). Networks are those of the roles in `snapshot`.
  Check(TrainOptions o, const SafetensorsFile& snapshot, const std::string& type, const Device& device);

  const Phase& phase(const std::string& name) const;  // ConfigError unless there is one of that name
  PhaseResult run(const std::string& phase, const SafetensorsFile& inputs);
  Parameters trained(const std::string& phase) const;  // whose gradients the phase gives

  TrainOptions options;
  TrainState state;
  std::vector<Phase> phases;
};

void use_threads(int threads);  // 0: all

}  // namespace firn::tools
