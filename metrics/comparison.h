// Measures generated images against real ones: networks are loaded once, and what they find in reals is kept.
#pragma once
#include <filesystem>
#include <map>
#include <optional>

#include "metrics/metric.h"
#include "metrics/numbers/memorising.h"

namespace firn {

// Files with weights, by what is in them.
struct WeightFiles {
  std::vector<FeatureWeights> networks;                        // of these, in the order that they were named
  std::map<std::string, std::filesystem::path> heads;          // of LPIPS, by the network that they are for
  const FeatureWeights* of(const std::string& network) const;  // null: none of these
  FeatureWeights find(const std::string& network) const;       // of these, or in $FIRN_WEIGHTS; IoError
};
WeightFiles weight_files(const std::vector<std::string>& paths);  // IoError for a file that holds neither

// The file with the weights of LPIPS on this network, among `files` or in $FIRN_WEIGHTS. IoError that says what is
// wanted.
std::filesystem::path heads_for(const std::string& network, const WeightFiles& files);

struct ComparisonSettings {
  WeightFiles features;     // others are looked for in $FIRN_WEIGHTS
  DType type = DType::f32;  // of the networks' activations
  Device device = Device::cpu();
  std::filesystem::path cache = {};  // a folder for what networks found in reals; empty: nothing is kept
  std::function<void(const std::string& what, int64_t done, int64_t total)> progress = {};
  // What a network finds in the first so many of the images that are compared, where several processes share them;
  // unset: this one reads them all.
  std::function<FeatureTable(const FeatureExtractor&, int64_t count)> fakes = {};
};

// Metrics by their names, with the networks of these files where the names leave that open. ConfigError.
std::vector<MetricName> parse_metrics(const std::vector<std::string>& names, const WeightFiles& features);
// What metrics of this name need of weights is there: IoError that says what is missing, and how to name it.
void require_weights(const MetricName& name, const WeightFiles& features);

[[noreturn]] void throw_no_left_out(const MetricName& name);  // ConfigError

struct MetricResult {
  MetricName name;
  std::vector<Score> scores;
  double seconds = 0;
  std::string weights;  // SHA-256 of the network's file; empty: none
  std::string machine;  // what the network ran on, and its precision
};

struct Evaluation {
  std::vector<MetricResult> metrics;
  std::vector<std::string> failures;     // "fid5k_full: why", of what could not be measured; the others are
  std::optional<Memorising> memorising;  // none where there are fewer than 4 training images
  std::string memorising_in;             // the network whose features say so
  double seconds = 0;
};

// Whether the generator gives back its training images, in words.
std::string to_text(const Memorising& m, const std::string& features);

class Comparison : private Material {
 public:
  // `left_out` may be null. Before anything is computed: ConfigError for a metric that needs left-out images where
  // there are none, IoError for weights that are missing or broken.
  Comparison(std::shared_ptr<const ImageSet> reals, std::shared_ptr<const ImageSet> left_out,
             std::vector<MetricName> names, ComparisonSettings settings);

  // `generator` may be null. `names`: those of the metrics that are wanted, unless all are.
  Evaluation operator()(std::shared_ptr<const ImageSet> fakes, const Generator* generator = nullptr) {
    return (*this)(std::move(fakes), generator, names_);
  }
  Evaluation operator()(std::shared_ptr<const ImageSet> fakes, const Generator* generator,
                        const std::vector<MetricName>& names);

  // Pairs of rows: generated images over the training images that they are nearest to; the nearest ones first, then the
  // first ones. Of the last evaluation, which found out about memorising.
  Image neighbours_sheet(const Evaluation& evaluation) const;

  const std::vector<MetricName>& names() const { return names_; }

 private:
  using Key = std::pair<std::string, Variant>;  // network
  static Key key_of(const MetricName& name) { return {name.network, name.variant}; }
  const FeatureExtractor& extractor(const MetricName& name);
  const FeatureTable& reals(const MetricName& name) override;
  const FeatureTable& fakes(const MetricName& name) override;
  const ImageSet& real_images(const MetricName& name) const override;
  int64_t real_count(const MetricName& name) const override;
  const ImageSet& fake_images() override { return *fakes_; }
  const Generator& generator() override;
  const FeatureNetwork& network(const MetricName& name) override { return extractor(name).network(); }
  const SafetensorsFile& lpips_heads(const MetricName& name) override;
  FeatureTable found(const FeatureExtractor& extractor, const ImageSet& images, int64_t count, Side side);
  FeatureTable kept_or_found(const FeatureExtractor& extractor, const ImageSet& images, int64_t count);
  int64_t most_fakes(const MetricName& name) const;
  MetricName judge() const;  // which features tell what was memorised

  std::shared_ptr<const ImageSet> reals_, left_out_, fakes_;
  std::vector<MetricName> names_;
  ComparisonSettings settings_;
  std::map<Key, FeatureExtractor> extractors_;
  std::map<std::tuple<Key, bool, int64_t>, FeatureTable> real_tables_;  // of what was left out, how many
  std::map<Key, FeatureTable> fake_tables_;
  std::map<std::string, FeatureTable> slices_;  // by metric
  std::map<std::string, SafetensorsFile> heads_;
  std::optional<Spacing> spacing_;  // of the training images
  const Generator* generator_ = nullptr;
};

}  // namespace firn
