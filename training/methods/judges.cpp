#include "training/methods/judges.h"

#include "base/error.h"
#include "metrics/comparison.h"

namespace firn {

FeatureWeights judge_weights(const TrainOptions& o, const std::string& network) {
  const WeightFiles files = weight_files(o.metrics.features);
  const FeatureWeights* given = files.of(network);
  return given ? *given : find_feature_weights(network, {});
}

std::shared_ptr<const FeatureNetwork> load_judge(const TrainOptions& o, const std::string& network,
                                                 const std::string& sha256, const TrainState& state) {
  const FeatureWeights weights = judge_weights(o, network);
  if (weights.sha256 != sha256)
    throw IoError(fmt::format("{}: other weights of {} than the run began with", weights.path.string(), network));
  const DType type = state.generator().type();
  return load_features(weights, {.type = type == DType::f64 ? type : o.model.basics().activation_type}, state.device());
}

}  // namespace firn
