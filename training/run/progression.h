// --vision-progressive K (Kumari et al. 2022, arXiv 2112.09130): K networks join a vision-aided run one after another.
// Before each stage a linear probe of every network that is left tells generated images from real ones; the one that is
// right most often joins what the best snapshot of the stage before holds. Snapshots have in their options who has
// joined, so that any of them can go on; RUN/probe.json has what was found.
#pragma once
#include <optional>
#include <vector>

#include "metrics/numbers/logistic.h"
#include "training/run/trainer.h"

namespace firn {

struct Probed {
  std::string network;
  Probe found = {};
};
struct Joining {
  int64_t images = 0;          // when it began
  int64_t of = 0;              // the images that the snapshot had seen whose generator was probed
  std::vector<Probed> probed;  // in the order of the bank
};
// That with the highest accuracy, the first of equals.
const Probed& best_of(const std::vector<Probed>& probed);

bool progresses(const TrainOptions& options);
// Settles the bank. A line about it. ConfigError where it has too few networks, or one that --metrics measures with.
std::string plan_progression(TrainOptions& options);
std::string to_string(const std::vector<Joining>& joinings);  // a table; the last one may be under way

// Before the first stage, and where a snapshot goes on in another folder: from here on the folder can be resumed.
void begin_progression(const std::filesystem::path& dir, const TrainOptions& options, TrainState& state);
// The stages that are left. `options` and `state` become those of the last one.
Outcome train_progressively(TrainOptions& options, std::optional<TrainState>& state,
                            const std::shared_ptr<const Dataset>& data, RunLog& log, const RunSettings& run);

}  // namespace firn
