// What a run measures of itself from time to time, and what follows from it: which snapshot is the best, and whether to
// go on.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "io/run_log.h"
#include "training/run/metric_log.h"
#include "training/state/state.h"

namespace firn {

class Team;

// Images of this state from number `first` on, as all measures of it see them. `others`: of other latents, those that
// belong to this number.
std::unique_ptr<ImageSet> generated_by(const TrainState& state, const TrainOptions& options, uint64_t others = 0,
                                       int64_t first = 0);

// Real images that D has seen and that it has not, how it scores both, and generated ones.
struct HeldOutScores {
  double trained = 0, left_out = 0, fake = 0;  // mean logits
  // (trained - left_out) / (trained - fake): 0 where D knows no difference, 1 where it takes what it has not seen for
  // generated (Karras et al. 2020, arXiv 2006.06676, equation 1).
  double overfitting() const { return (trained - left_out) / (trained - fake); }
};

// Before a run has a folder: ConfigError or IoError for metrics that it cannot measure. Names that leave their network
// open get one (settle_networks).
void require_metrics(TrainOptions& options);

// What images are compared with, those of one state after another: networks and what they find in reals are had once.
// `progress(what, done, total)` may throw to break off.
using MeasuringProgress = std::function<void(const std::string& what, int64_t done, int64_t total)>;
struct Measures {
  Measures(const TrainOptions& options, const Device& device, std::shared_ptr<const Dataset> dataset,
           const std::vector<std::string>& metrics, MeasuringProgress progress,
           std::function<FeatureTable(const FeatureExtractor&, int64_t)> fakes = {});
  std::shared_ptr<const ImageSet> generated(const TrainState& state, const TrainOptions& options,
                                            uint64_t others = 0) const;

  MeasuringProgress progress;
  std::shared_ptr<const ImageSet> trained, left_out;  // the latter may be null
  Comparison comparison;
};

// A part of a run that ends as a run does, with a tick, a snapshot and an evaluation; the best snapshot is the best
// behind its begin. In images.
struct Stage {
  int64_t begin = -1, end = INT64_MAX;
  bool over(const TrainOptions& options, int64_t images) const {
    return images >= end || double(images) >= options.kimg * 1000;
  }
};

class Evaluations {
 public:
  // Loads what the metrics need: errors come before the run does anything. All of the team find features of generated
  // images.
  Evaluations(const TrainOptions& options, const TrainState& state, std::shared_ptr<const Dataset> dataset,
              std::filesystem::path run, MeasuringProgress progress, Stage stage, std::shared_ptr<Team> team);

  bool due(int64_t finished_tick) const;  // at the end of that tick
  bool missing() const;                   // where the state is now, due and not all there: a run was killed meanwhile
  // Measures what is missing of images of the average; lines for people. Writes metric-NAME.jsonl, neighbours.png and
  // events.
  std::vector<std::string> evaluate(EventFile& events);
  std::optional<int64_t> best() const;  // where the first metric was best in this stage, in images
  bool over() const;                    // as --stop-when says
  std::vector<std::string> best_and_final() const { return log_->best_and_final(); }

 private:
  std::vector<MetricName> not_measured() const;
  HeldOutScores held_out_scores(const ImageSet& fakes) const;
  const TrainOptions& options_;
  const TrainState& state_;
  std::filesystem::path run_;
  Stage stage_;
  std::shared_ptr<Team> team_;
  std::optional<Measures> measures_;
  std::optional<MetricLog> log_;
  std::optional<StopWhen> stop_when_;
};

}  // namespace firn
