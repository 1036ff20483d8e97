#include "training/methods/judges.h"

#include "base/error.h"
#include "metrics/comparison.h"

namespace firn {

FeatureWeights judge_weights(const TrainOptions& o, const std::string& network) {
  return weight_files(o.metrics.features).find(network);
}

FeatureWeights judge_weights(const TrainOptions& o, const std::string& network, const std::string& sha256) {
  FeatureWeights weights = judge_weights(o, network);
  if (weights.sha256 != sha256)
    throw IoError(fmt::format("{}: other weights of {} than the run began with", weights.path.string(), network));
  return weights;
}

std::shared_ptr<const FeatureNetwork> load_judge(const TrainOptions& o, const FeatureWeights& weights,
                                                 const Device& device) {
  const DType type = o.model.type();
  return load_features(weights, {.type = type == DType::f64 ? type : o.model.basics().activation_type}, device);
}

int judge_rows(const std::string& network, int rows) { return rows ? rows : feature_model(network).judge_size; }

void check_judge_rows(const std::string& network, int rows, const char* flag) {
  const int only = feature_model(network).only_size;
  if (rows == 0) return;
  if (rows < 32) throw ConfigError(fmt::format("{} {}: networks need 32 rows at least", flag, rows));
  if (only && rows != only)
    throw ConfigError(fmt::format("{} {}: {} takes images of {} rows alone", flag, rows, network, only));
}

}  // namespace firn
