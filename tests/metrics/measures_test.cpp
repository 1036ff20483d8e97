// Metrics on given features, against NumPy and torchmetrics (tests/golden/measures.py).
#include <gtest/gtest.h>

#include "base/error.h"
#include "io/safetensors.h"
#include "metrics/metric.h"

namespace firn {
namespace {

class Given : public Material {
 public:
  Given(FeatureTable reals, FeatureTable fakes) : reals_(std::move(reals)), fakes_(std::move(fakes)) {}
  const FeatureTable& reals(const MetricName&) override { return reals_; }
  const FeatureTable& fakes(const MetricName&) override { return fakes_; }
  const ImageSet& real_images(const MetricName&) const override { throw ConfigError("no images"); }
  int64_t real_count(const MetricName&) const override { return reals_.features.rows; }
  const ImageSet& fake_images() override { throw ConfigError("no images"); }
  const Generator& generator() override { throw ConfigError("no generator"); }
  const FeatureNetwork& network(const MetricName&) override { throw ConfigError("no network"); }
  const SafetensorsFile& lpips_heads(const MetricName&) override { throw ConfigError("no heads"); }

 private:
  FeatureTable reals_, fakes_;
};

struct MeasuresGolden : testing::Test {
  SafetensorsFile file = read_safetensors(FIRN_TEST_DATA "/golden/measures.safetensors");
  Matrix matrix(const char* name, int64_t rows = 1 << 20, int64_t columns = 1 << 20) const {
    const StoredTensor& t = file.at(name);
    const std::vector<double> values = t.to_doubles();
    Matrix m(std::min(rows, t.shape[0]), std::min(columns, t.shape[1]));
    for (int64_t i = 0; i < m.rows; ++i)
      for (int64_t j = 0; j < m.columns; ++j) m(i, j) = values[size_t(i * t.shape[1] + j)];
    return m;
  }
  void expect(const char* name, FeatureTable reals, FeatureTable fakes, const char* expected, size_t number) const {
    Given material(std::move(reals), std::move(fakes));
    const double want = file.at(expected).to_doubles()[number];
    EXPECT_NEAR(measure(parse_metric(name), material)[0].value, want, 1e-6 * std::abs(want)) << name;
  }
};

TEST_F(MeasuresGolden, AreThoseOfTheirDefinitions) {
  for (const size_t i : {0u, 1u}) {
    const char* fakes = i == 0 ? "near" : "far";
    expect("fid", {.features = matrix("reals")}, {.features = matrix(fakes)}, "fid", i);
    expect("mifid", {.features = matrix("reals")}, {.features = matrix(fakes)}, "mifid", i);
    expect("mind", {.features = matrix("reals", 60, 1)}, {.features = matrix(fakes, 60, 1)}, "mind", i);
  }
}

TEST_F(MeasuresGolden, InceptionScoreIsOfTenSplitsInOrder) {
  Given material({}, {.logits = matrix("logits")});
  const std::vector<double> want = file.at("is").to_doubles();
  const auto scores = measure(parse_metric("is"), material);
  ASSERT_EQ(scores.size(), 2u);
  EXPECT_NEAR(scores[0].value, want[0], 1e-9);
  EXPECT_NEAR(scores[1].value, want[1], 1e-9);
}

}  // namespace
}  // namespace firn
