// What a run that is resumed goes on with: its options, with the paths that a snapshot does not carry, and its data.
#pragma once
#include <filesystem>
#include <string>

#include "training/state/snapshot.h"

namespace firn {

// The options in a snapshot. The path of the data comes from the training_options.json beside it where that names the
// same set; otherwise it is a mere name, or empty.
TrainOptions resumable_options(const SafetensorsFile& snapshot, const std::filesystem::path& path);

struct ResumedData {
  std::string remark;      // a line for the start-up text; empty: the same data
  bool new_epoch = false;  // the position in the old data means nothing in this
};

// Compares `data` with what the options say of it, and brings them up to date. ConfigError for another model, and for
// other data unless `accept_changes`.
struct ResumeRules {
  bool accept_changes = false;
};
ResumedData check_resumed_data(TrainOptions& options, const Dataset& data, ResumeRules rules);

}  // namespace firn
