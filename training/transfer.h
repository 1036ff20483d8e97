// Starting from another run's weights: what fits by name and shape is copied, layers that write or read images are
// carried over to other channels, the rest keeps its fresh values; and what may not stay fresh.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "training/source.h"
#include "training/state.h"

namespace firn {

struct TransferReport {
  struct Network {
    std::string name, source;  // "G_ema" may come from "G"
    int64_t copied = 0;
    std::vector<std::pair<std::string, std::string>> carried, skipped, fresh;  // carried, fresh: of the network;
                                                                               // skipped: of the file; with the reason
    int64_t taken() const { return copied + int64_t(carried.size()); }
  };
  std::vector<Network> networks;  // G, D, G_ema
};
std::string to_string(const TransferReport& report);

// IoError when nothing fits at all, and for weights that are not finite.
TransferReport transfer(TrainState& state, const SafetensorsFile& file);

// ConfigError where a network that the file holds loses more than a tenth of its tensors, or gets more than a tenth
// new ones; it names the options that fit.
void require_most(const TransferReport& report, const SourceModel& source, const StyleGan2Options& model);

// ConfigError where what is frozen was not copied: it would stay random. Without a report nothing was.
void require_frozen_copied(const TrainState& state);
void require_frozen_copied(const TrainState& state, const TransferReport& report, const SourceModel& source);

}  // namespace firn
