// --freeze-d auto: how much of D to freeze depends on how far source and target lie apart. Short runs at several depths
// are halved by what they make of images that were left out (successive halving: Jamieson and Talwalkar 2016, arXiv
// 1502.07943), and the last one goes on from where it is. RUN/selection.json has what was found, RUN/selection/ a
// folder of each depth.
#pragma once
#include <cmath>
#include <functional>
#include <optional>
#include <vector>

#include "training/run/trainer.h"

namespace firn {

struct Trial {
  int blocks = 0;      // of D that are frozen
  int64_t images = 0;  // after so many
  double score = NAN;  // not finite: `note` says why
  std::string note = {};
  bool goes_on = false;
};

struct Selection {
  std::string metric;
  Better better = Better::lower;
  std::vector<int> depths;
  int64_t first = 0;          // images until the first halving; twice as many until the next one
  std::vector<Trial> trials;  // by halvings, then depths; of one that is under way none goes on yet

  // Images that depths are trained on which do not go on, if half of them goes at each halving.
  int64_t lost_images() const;
};

// Depths from nothing to all of so many blocks, which together cost a quarter of the run's images besides the last one.
// ConfigError where the run is too short for that, or there is no block.
Selection plan_selection(const TrainOptions& options, int blocks);

// The depth that is left. What `selection` has is not tried again; `noted` is called when it has more. Error where no
// depth has a score.
int halve(Selection& selection, const std::function<Trial(int blocks, int64_t images)>& attempt,
          const std::function<void()>& noted);

std::string to_string(const Selection& selection);           // the table
Selection read_selection(const std::filesystem::path& dir);  // of a run folder; IoError

TrainOptions at_depth(TrainOptions options, int blocks);

// Makes `state`, which has seen no image, the beginning of each depth: from here on the run can be resumed.
void begin_selection(const std::filesystem::path& dir, const TrainOptions& options, const TrainState& state,
                     const Selection& selection);
// The depth that goes on; none: stopped meanwhile.
std::optional<int> select_depth(const TrainOptions& options, const Device& device,
                                const std::shared_ptr<const Dataset>& data, DataMemory memory, RunLog& log,
                                const RunSettings& run);
// Fills `state`, and the run folder with what that depth has left in its own: from here on the run is one of its
// options, like any other.
void go_on_from(const std::filesystem::path& dir, const TrainOptions& options, TrainState& state);
void forget_candidates(const std::filesystem::path& dir);  // their snapshots; log, pictures and numbers stay

}  // namespace firn
