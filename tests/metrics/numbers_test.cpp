// Measures on features: closed forms, definitions computed plainly, edges, and the same bits for any number of threads.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "base/error.h"
#include "metrics/numbers/frechet.h"
#include "metrics/numbers/kernel_distance.h"
#include "metrics/numbers/neighbours.h"
#include "metrics/numbers/sliced.h"

namespace firn {
namespace {

Matrix drawn(int64_t rows, int64_t columns, uint64_t seed, double scale = 1, double shift = 0) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  Matrix m(rows, columns);
  for (double& v : m.values) v = shift + scale * normal(random);
  return m;
}

// Rows +-s_j e_j: mean 0, covariance diagonal with 2 s_j^2 / (2 n - 1).
Matrix cross(const std::vector<double>& sizes) {
  const auto n = int64_t(sizes.size());
  Matrix m(2 * n, n);
  for (int64_t j = 0; j < n; ++j) {
    m(2 * j, j) = sizes[size_t(j)];
    m(2 * j + 1, j) = -sizes[size_t(j)];
  }
  return m;
}

TEST(Frechet, OfDiagonalCovariancesIsTheirClosedForm) {
  const std::vector<double> a = {1, 2, 3, 0.5}, b = {2, 2, 0.25, 1};
  Matrix y = cross(b);
  for (int64_t i = 0; i < y.rows; ++i) y(i, 1) += 3;
  double expected = 9;
  for (size_t j = 0; j < a.size(); ++j) expected += (a[j] - b[j]) * (a[j] - b[j]) * 2 / 7;
  EXPECT_NEAR(frechet_distance(cross(a), y), expected, 1e-12);
  EXPECT_NEAR(frechet_distance(cross(a), y, Covariance::by_n), 9 + (expected - 9) * 7 / 8, 1e-12);
}

TEST(Frechet, OfTheSameImagesIsZero) {
  for (const int64_t rows : {2, 5, 40}) {
    const Matrix a = drawn(rows, 12, 1);
    EXPECT_NEAR(frechet_distance(a, a), 0, 1e-10) << rows;
  }
  EXPECT_EQ(frechet_distance(Matrix(4, 3), Matrix(7, 3)), 0);  // constant features
}

// Few images one way, many the other: where both can be used, they agree.
TEST(Frechet, RootsAgreeWhereBothAreExact) {
  const Matrix a = drawn(60, 8, 1), b = drawn(50, 8, 2, 1.5, 0.3);
  const auto padded = [](const Matrix& m) {  // more features than images, all others constant
    Matrix wide(m.rows, 100);
    for (int64_t i = 0; i < m.rows; ++i)
      for (int64_t j = 0; j < m.columns; ++j) wide(i, j) = m(i, j);
    return wide;
  };
  EXPECT_NEAR(frechet_distance(a, b), frechet_distance(padded(a), padded(b)), 1e-10);
}

TEST(Frechet, NeedsTwoImagesOfOneNetwork) {
  EXPECT_THROW(frechet_distance(Matrix(1, 3), Matrix(4, 3)), Error);
  EXPECT_THROW(frechet_distance(Matrix(4, 2), Matrix(4, 3)), ShapeError);
}

Manifolds plainly(const Matrix& reals, const Matrix& fakes, int k) {
  const auto distance = [](const Matrix& a, int64_t i, const Matrix& b, int64_t j) {
    double s = 0;
    for (int64_t c = 0; c < a.columns; ++c) s += (a(i, c) - b(j, c)) * (a(i, c) - b(j, c));
    return std::sqrt(s);
  };
  const auto radius = [&](const Matrix& a, int64_t i) {
    std::vector<double> all;
    for (int64_t j = 0; j < a.rows; ++j) all.push_back(distance(a, i, a, j));
    std::sort(all.begin(), all.end());
    return all[size_t(k)];
  };
  Manifolds m;
  for (int64_t j = 0; j < fakes.rows; ++j) {
    int n = 0;
    for (int64_t i = 0; i < reals.rows; ++i) n += distance(reals, i, fakes, j) < radius(reals, i);
    m.precision += (n > 0) / double(fakes.rows);
    m.density += n / double(k) / double(fakes.rows);
  }
  for (int64_t i = 0; i < reals.rows; ++i) {
    bool held = false;
    double nearest = INFINITY;
    for (int64_t j = 0; j < fakes.rows; ++j) {
      held |= distance(reals, i, fakes, j) < radius(fakes, j);
      nearest = std::min(nearest, distance(reals, i, fakes, j));
    }
    m.recall += held / double(reals.rows);
    m.coverage += (nearest < radius(reals, i)) / double(reals.rows);
  }
  return m;
}

TEST(Neighbours, AreWhatTheDefinitionsSay) {
  const Matrix reals = drawn(40, 5, 1), fakes = drawn(30, 5, 2, 0.8, 0.4);
  for (const int k : {1, 3, 5}) {
    const Manifolds m = compare_manifolds(reals, fakes, k), expected = plainly(reals, fakes, k);
    EXPECT_NEAR(m.precision, expected.precision, 1e-12);
    EXPECT_NEAR(m.recall, expected.recall, 1e-12);
    EXPECT_NEAR(m.density, expected.density, 1e-12);
    EXPECT_NEAR(m.coverage, expected.coverage, 1e-12);
  }
}

// Reals 0 and 1 have balls of radius 1, which end at fakes 2 and -1.
TEST(Neighbours, OnTheBorderAreInsideOrNot) {
  const Matrix reals(2, 1, std::vector<float>{0, 1}), fakes(3, 1, std::vector<float>{2, -1, 30});
  EXPECT_EQ(compare_manifolds(reals, fakes, 1, Border::outside).precision, 0);
  EXPECT_NEAR(compare_manifolds(reals, fakes, 1, Border::inside).precision, 2.0 / 3, 1e-15);
}

TEST(Neighbours, NeedMoreImagesThanNeighbours) {
  EXPECT_THROW(compare_manifolds(Matrix(3, 2), Matrix(9, 2), 3), Error);
  EXPECT_EQ(Manifolds{}.f1(), 0);
}

TEST(KernelDistance, OfTwoSubsetsIsTheDefinition) {
  const Matrix a = drawn(6, 4, 1), b = drawn(6, 4, 2, 1, 1);
  const auto k = [](const Matrix& x, int64_t i, const Matrix& y, int64_t j) {
    double dot = 0;
    for (int64_t c = 0; c < 4; ++c) dot += x(i, c) * y(j, c);
    return std::pow(dot / 4 + 1, 3);
  };
  double expected = 0;
  for (int64_t i = 0; i < 6; ++i)
    for (int64_t j = 0; j < 6; ++j) {
      if (i != j) expected += (k(a, i, a, j) + k(b, i, b, j)) / 30;
      expected -= 2 * k(a, i, b, j) / 36;
    }
  EXPECT_NEAR(squared_discrepancy(a, b), expected, 1e-12);
  EXPECT_NEAR(kernel_distance(a, b, {.subsets = 3}).mean, expected, 1e-12);  // all images are drawn
  EXPECT_NEAR(kernel_distance(a, b, {.subsets = 3}).deviation, 0, 1e-12);
  EXPECT_THROW(kernel_distance(Matrix(1, 4), a), Error);
}

// Where subsets overlap much, kernels are computed once for all of them.
TEST(KernelDistance, IsTheSameOnBothWays) {
  const Matrix a = drawn(40, 6, 1), b = drawn(50, 6, 2, 1.2);
  constexpr KernelDistance options{.subsets = 100, .size = 20};
  std::mt19937_64 random(options.seed);
  double sum = 0;
  for (int i = 0; i < options.subsets; ++i) {
    const Matrix x = drawn_rows(a, options.size, random), y = drawn_rows(b, options.size, random);
    sum += squared_discrepancy(x, y);
  }
  EXPECT_NEAR(kernel_distance(a, b, options).mean, sum / options.subsets, 1e-12);
}

TEST(Frechet, DistanceToOneSideThatIsKeptIsTheSame) {
  for (const auto& [rows, others] : {std::pair{60, 50}, {60, 5}, {5, 60}, {5, 7}}) {
    const Matrix a = drawn(rows, 10, 1), b = drawn(others, 10, 2, 1.5, 0.3);
    EXPECT_NEAR(frechet_distance(fitted(a), b), frechet_distance(a, b), 1e-10) << rows << ' ' << others;
  }
  EXPECT_THROW(fitted(Matrix(1, 3)), Error);
  EXPECT_THROW(frechet_distance(fitted(drawn(4, 3, 1)), Matrix(1, 3)), Error);
  EXPECT_THROW(frechet_distance(fitted(drawn(4, 3, 1)), Matrix(4, 2)), ShapeError);
}

TEST(KernelDistance, RepeatsWithItsSeed) {
  const Matrix a = drawn(50, 4, 1), b = drawn(40, 4, 2);
  const KernelDistance options{.subsets = 5, .size = 10};
  EXPECT_EQ(kernel_distance(a, b, options).mean, kernel_distance(a, b, options).mean);
  EXPECT_NE(kernel_distance(a, b, options).mean, kernel_distance(a, b, {.subsets = 5, .size = 10, .seed = 1}).mean);
}

TEST(KernelDistance, OfASetToItselfIsThatToItsCopy) {
  const Matrix a = drawn(40, 6, 1), copy = a;
  for (const int size : {4, 20})
    EXPECT_EQ(kernel_distance(a, a, {.size = size}).mean, kernel_distance(a, copy, {.size = size}).mean);
}

TEST(KernelDistance, NeedsFeaturesOfOneNetwork) {
  EXPECT_THROW(kernel_distance(Matrix(4, 2), Matrix(4, 3)), ShapeError);
  EXPECT_THROW(kernel_distance(Matrix(40, 2), Matrix(40, 3), {.subsets = 1, .size = 5}), ShapeError);
}

// On one column, directions are 1 and -1: places of the sorted numbers.
TEST(Sliced, OfOneColumnIsTheDistanceOfSortedNumbers) {
  const Matrix a = drawn(3000, 1, 1, 1e-3, -0.2), b = drawn(3000, 1, 2, 1e3);
  std::vector<double> x = a.values, y = b.values;
  std::ranges::sort(x);
  std::ranges::sort(y);
  double mean = 0, mean_square = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    mean += std::abs(x[i] - y[i]) / 3000;
    mean_square += (x[i] - y[i]) * (x[i] - y[i]) / 3000;
  }
  const SlicedDistance d = sliced_distance(a, b, {.directions = 70});
  EXPECT_NEAR(d.mean, mean, 1e-12 * mean);
  EXPECT_NEAR(d.mean_square, mean_square, 1e-12 * mean_square);
}

// A shift by s is s.d in direction d, whose square is |s|^2 / columns in the mean.
TEST(Sliced, OfAShiftIsItsShareOfADirection) {
  const Matrix a = drawn(50, 8, 1);
  Matrix b = a;
  for (int64_t i = 0; i < b.rows; ++i)
    for (int64_t j = 0; j < b.columns; ++j) b(i, j) += double(j);
  EXPECT_NEAR(sliced_distance(a, b, {.directions = 4000}).mean_square, 140.0 / 8, 1);
}

TEST(Sliced, OfTheSameAndOfConstantFeaturesIsZero) {
  const Matrix a = drawn(40, 6, 1);
  for (const Matrix& m : {a, Matrix(2, 3), Matrix(1, 1)}) {
    const Matrix copy = m;
    EXPECT_EQ(sliced_distance(m, copy, {.directions = 300}).mean, 0);
    EXPECT_EQ(sliced_distance(m, m, {.directions = 1}).mean_square, 0);
  }
  EXPECT_EQ(sliced_distance(Matrix(9, 3), Matrix(7, 3)).mean, 0);
}

TEST(Sliced, NeedsImagesOfOneNetwork) {
  EXPECT_THROW(sliced_distance(Matrix(0, 3), Matrix(4, 3)), Error);
  EXPECT_THROW(sliced_distance(Matrix(4, 2), Matrix(4, 3)), ShapeError);
}

TEST(Metrics, AreTheSameBitsForAnyNumberOfThreads) {
  const Matrix a = drawn(700, 40, 1), b = drawn(600, 40, 2, 1.1, 0.1);
  const auto all = [&](int threads) {
    omp_set_num_threads(threads);
    const Manifolds m = compare_manifolds(a, b, 3);
    return std::vector{frechet_distance(a, b),
                       kernel_distance(a, b, {.subsets = 2, .size = 300}).mean,
                       kernel_distance(a, b, {.subsets = 9, .size = 300}).mean,
                       sliced_distance(a, b, {.directions = 200}).mean,
                       m.precision,
                       m.recall,
                       m.density,
                       m.coverage};
  };
  const int before = omp_get_max_threads();
  const auto one = all(1), two = all(2);
  omp_set_num_threads(before);
  EXPECT_EQ(one, two);
}

}  // namespace
}  // namespace firn
