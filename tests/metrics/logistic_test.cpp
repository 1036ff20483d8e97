// Logistic regression against scikit-learn (tests/golden/probe.py), and the linear probe on features that a line tells
// apart and on such that nothing does.
#include "metrics/numbers/logistic.h"

#include <gtest/gtest.h>

#include <cmath>

#include "io/safetensors.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

class LogisticGolden : public testing::TestWithParam<const char*> {
 protected:
  const StoredTensor& at(const char* name) const { return file.at(std::string(GetParam()) + "." + name); }
  Matrix matrix(const char* name) const {
    Matrix m(at(name).shape[0], at(name).shape[1]);
    m.values = at(name).to_doubles();
    return m;
  }
  SafetensorsFile file = read_safetensors(FIRN_TEST_DATA "/golden/probe.safetensors");
};

TEST_P(LogisticGolden, IsThatOfThePackage) {
  const Logistic line = logistic_regression(matrix("ones"), matrix("zeros"), 0.2);
  const std::vector<double> weights = at("weights").to_doubles();
  ASSERT_EQ(line.weights.size(), weights.size());
  for (size_t i = 0; i < weights.size(); ++i) EXPECT_NEAR(line.weights[i], weights[i], 1e-9) << i;
  EXPECT_NEAR(line.intercept, at("intercept").to_doubles()[0], 1e-9);
  EXPECT_NEAR(accuracy(line, matrix("new_ones"), matrix("new_zeros")), at("accuracy").to_doubles()[0], 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Of, LogisticGolden, testing::Values("overlapping", "separable", "few"),
                         [](const auto& info) { return std::string(info.param); });

// Rows of standard normal numbers, the first of which is moved.
Matrix drawn(int64_t rows, double shift, uint64_t seed) {
  std::mt19937_64 random(seed);
  Matrix m(rows, 4);
  m.values = normals(rows * 4, random);
  for (int64_t i = 0; i < rows; ++i) m(i, 0) += shift;
  return m;
}

Probe probe(double shift, uint64_t seed = 0) {
  return linear_probe(
      drawn(400, 0, 1), [&](int repeat) { return drawn(400, shift, 10 + uint64_t(repeat)); }, 3, seed);
}

TEST(LinearProbe, IsRightAsOftenAsTheBestLine) {
  EXPECT_NEAR(probe(0).accuracy, 0.5, 0.06);
  EXPECT_NEAR(probe(2).accuracy, 0.5 * std::erfc(-1 / std::sqrt(2)), 0.04);  // half way between them
  EXPECT_EQ(probe(20).accuracy, 1);
  EXPECT_EQ(probe(20).deviation, 0);
  EXPECT_GT(probe(2).deviation, 0);
}

TEST(LinearProbe, FollowsFromItsSeed) {
  EXPECT_EQ(probe(1, 3).accuracy, probe(1, 3).accuracy);
  EXPECT_NE(probe(1, 3).accuracy, probe(1, 7).accuracy);
}

TEST(LinearProbe, NeedsTwoRealsAndFiniteFeatures) {
  const auto fakes = [](int) { return Matrix(2, 4); };
  EXPECT_MENTIONS(message_of<Error>([&] { linear_probe(Matrix(1, 4), fakes, 3, 0); }), "2 real images or more");
  Matrix broken = drawn(4, 0, 1);
  broken(2, 2) = NAN;
  EXPECT_MENTIONS(message_of<Error>([&] { logistic_regression(broken, drawn(4, 1, 2), 0.2); }), "finite");
}

}  // namespace
}  // namespace firn
