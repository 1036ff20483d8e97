// The one place that lists metrics, and their names. A metric is a file in measures/ and a row here.
#pragma once
#include <any>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "metrics/images/features_of.h"

namespace firn {

enum class Better { lower, higher, neither };
const char* name_of(Better better);

enum class Against { as_many, all, left_out };  // as generated images; of the training set; that were not trained on

struct Metric;

// What a name says: NAME[COUNT][NEAREST][_full|_holdout][_OPTION][-NETWORK][-VARIANT], like fid5k_full-mobilenetv2,
// kid50k_full-clean, pr50k3_full, prdc200n5, ppl2_wend.
struct MetricName {
  const Metric* metric = nullptr;
  int64_t fakes = 0;
  int nearest = 0;  // 0: the metric has none
  Against against = Against::all;
  std::string option;   // one of the metric's
  std::string network;  // empty: the metric needs none
  Variant variant = Variant::standard;

  std::string text() const;  // the name that results carry: complete, but for what is Inception's or standard
};

// What a metric is computed from. References stay good while it lives.
class Material {
 public:
  virtual ~Material() = default;
  virtual const FeatureTable& reals(const MetricName& name) = 0;  // at least 1 row
  virtual const FeatureTable& fakes(const MetricName& name) = 0;  // at most name.fakes rows
  virtual const ImageSet& real_images(const MetricName& name) const = 0;
  virtual int64_t real_count(const MetricName& name) const = 0;  // images that are meant
  virtual const ImageSet& fake_images() = 0;
  virtual const Generator& generator() = 0;  // ConfigError where images are measured that no network made
  virtual const FeatureNetwork& network(const MetricName& name) = 0;
  virtual const SafetensorsFile& lpips_heads(const MetricName& name) = 0;

  // What a metric makes of the reals alone: made once, however many generators they are compared with. One of a metric.
  template <class F>
  const auto& of_reals(const MetricName& name, F make) {
    std::any& kept = of_reals_[name.text()];
    if (!kept.has_value()) kept = make();
    return *std::any_cast<decltype(make())>(&kept);
  }

 private:
  std::map<std::string, std::any> of_reals_;
};

struct Metric {
  struct Value {
    std::string name;  // behind the metric's own, as "_precision"; empty: it alone
    Better better;
  };
  std::string name, title;        // "fid", "Frechet inception distance"
  std::vector<std::string> also;  // what other programs call it
  std::vector<Value> values;      // what measure() returns
  std::string network;            // that it uses unless another is named; empty: none
  int64_t fakes = 50000;          // unless a count is named
  int nearest = 0;                // unless named; 0: it has none
  bool needs_reals = true, needs_generator = false, needs_lpips = false;
  std::vector<std::string> options = {};  // the first is meant where none is named
  std::function<std::vector<double>(const MetricName&, Material&)> measure;
};

const std::vector<Metric>& metrics();

// In any of the vocabularies. `network`: where the name has none; empty: the metric's own. ConfigError with what is
// wrong.
MetricName parse_metric(std::string_view name, std::string_view network = {});

struct Score {
  std::string name;  // "fid5k_full", "pr50k3_full_precision"
  double value;
  Better better;
};
std::vector<Score> measure(const MetricName& name, Material& material);

}  // namespace firn
