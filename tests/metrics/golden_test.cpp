// Measures against SciPy, scikit-learn and prdc (tests/golden/metrics.py).
#include <gtest/gtest.h>

#include "io/safetensors.h"
#include "metrics/numbers/frechet.h"
#include "metrics/numbers/kernel_distance.h"
#include "metrics/numbers/neighbours.h"

namespace firn {
namespace {

class MetricsGolden : public testing::TestWithParam<const char*> {
 protected:
  Matrix features(const char* name) const {
    const StoredTensor& t = file.at(std::string(GetParam()) + "." + name);
    Matrix m(t.shape[0], t.shape[1]);
    m.values = t.to_doubles();
    return m;
  }
  std::vector<double> expected(const char* name) const {
    return file.at(std::string(GetParam()) + "." + name).to_doubles();
  }
  SafetensorsFile file = read_safetensors(FIRN_TEST_DATA "/golden/metrics.safetensors");
};

void expect_relative(double value, double expected, double tolerance) {
  EXPECT_NEAR(value, expected, tolerance * std::abs(expected));
}

TEST_P(MetricsGolden, AreThoseOfThePackages) {
  const Matrix a = features("a"), b = features("b");
  expect_relative(frechet_distance(a, b), expected("frechet")[0], 1e-6);
  const int64_t m = std::min(a.rows, b.rows);
  expect_relative(squared_discrepancy(a.slice(0, m), b.slice(0, m)), expected("kernel")[0], 1e-9);
  const Manifolds found = compare_manifolds(a, b, 5);
  const std::vector<double> prdc = expected("prdc");
  for (const auto& [value, want] : {std::pair{found.precision, prdc[0]},
                                    {found.recall, prdc[1]},
                                    {found.density, prdc[2]},
                                    {found.coverage, prdc[3]}})
    EXPECT_NEAR(value, want, 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Of, MetricsGolden, testing::Values("many", "few"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace firn
