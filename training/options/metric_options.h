// What a run measures of its images, and when.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/option.h"

namespace firn {

struct WeightFiles;

struct MetricOptions {
  std::vector<std::string> names = {};     // as metrics/metric.h reads them; empty: none
  int every = 0;                           // ticks between evaluations; 0: one with each snapshot
  std::vector<std::string> features = {};  // files with weights of the networks that metrics use
  std::string stop_when = {};              // "NAME:no-better:N"; empty: never

  void visit(OptionVisitor& v);
};

struct StopWhen {
  std::string metric;
  int evaluations;  // in a row without a better value
};
std::optional<StopWhen> stop_when(const MetricOptions& options);  // ConfigError for text that says something else

// Names that leave the network open are given the first that $FIRN_WEIGHTS has, where it has not the metric's own and
// `files` have none: as if it were named by --features, and for as long as the run goes on.
void settle_networks(std::vector<std::string>& names, const WeightFiles& files);

// What is measured where nobody says: FID in the features of these files, or of what $FIRN_WEIGHTS has; without
// networks the sliced Wasserstein distance. Of as many images that the time for it stays small beside the training of
// so many.
std::vector<std::string> default_metrics(const MetricOptions& options, double images_between_evaluations);

}  // namespace firn
