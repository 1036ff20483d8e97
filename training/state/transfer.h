// Starting from another run's weights: what fits by name and shape is copied, layers that write or read images are
// carried over to other channels, the rest keeps its fresh values; and what may not stay fresh.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "models/registry.h"
#include "training/state/state.h"

namespace firn {

struct TransferReport {
  struct Network {
    std::string name, source;  // "G_ema" may come from "G"
    int64_t copied = 0;
    std::vector<std::pair<std::string, std::string>> carried, skipped, fresh;  // carried, fresh: of the network;
                                                                               // skipped: of the file; with the reason
    std::vector<std::string> partly_fresh;                                     // carried over, but for some classes
    int64_t expected_fresh = 0, expected_skipped = 0;  // of those, what other classes and options explain
    int64_t taken() const { return copied + int64_t(carried.size()); }
  };
  std::vector<Network> networks;  // of the roles, then their averages
};
std::string to_string(const TransferReport& report);

struct TransferOptions {
  // Classes of the source that are classes here: {old, new}. Without, equally many classes are taken for the same ones,
  // and all others are new.
  std::vector<std::pair<int, int>> class_map = {};
  bool buffers = true;  // false: averages and vectors of the power iteration keep their fresh values
};
std::vector<std::pair<int, int>> parse_class_map(const std::string& text);  // "3=0,7=1"; ConfigError

// As --class-map and --init-without-buffers say.
TransferOptions transfer_options(const TrainOptions& options);

// Weights that the source modulates (adaptation-aware) are taken as they count, so that what freezes them holds them.
// IoError when nothing fits at all, and for weights that are not finite; ConfigError for a class that is not there.
TransferReport transfer(TrainState& state, const TrainOptions& options, const SafetensorsFile& file,
                        const TransferOptions& how = {});

// ConfigError where a network that the file holds loses more than a tenth of its tensors, or gets more than a tenth
// new ones; it names the options that fit.
void require_most(const TransferReport& report, const SourceModel& source, const ModelSpec& model);

// Tables of classes that the source does not have train, whatever freezes them, also when the run is resumed
// (options.freeze.fresh). Their names.
std::vector<std::string> train_new_classes(TrainState& state, TrainOptions& options, const TransferReport& report);

// ConfigError where what is frozen was not copied: it would stay random. Without a report nothing was.
void require_frozen_copied(const TrainState& state);
void require_frozen_copied(const TrainState& state, const TrainOptions& options, const TransferReport& report,
                           const SourceModel& source);

}  // namespace firn
