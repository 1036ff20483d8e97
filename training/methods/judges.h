// Frozen networks that methods have judge images: of the files that --features names, or in $FIRN_WEIGHTS.
#pragma once
#include <memory>
#include <string>

#include "models/features/features.h"
#include "training/options/options.h"

namespace firn {

FeatureWeights judge_weights(const TrainOptions& options, const std::string& network);  // IoError where there are none
// Those that a run began with, whose SHA-256 its options keep; IoError for others.
FeatureWeights judge_weights(const TrainOptions& options, const std::string& network, const std::string& sha256);
std::shared_ptr<const FeatureNetwork> load_judge(const TrainOptions& options, const FeatureWeights& weights,
                                                 const Device& device);

// Rows of the images that it is given; 0: as many as it was made for. ConfigError for what it does not take.
int judge_rows(const std::string& network, int rows);
void check_judge_rows(const std::string& network, int rows, const char* flag);

}  // namespace firn
