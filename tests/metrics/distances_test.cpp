// Decisions from bounds in single precision against the plain way: all distances in double, sorted. To the last bit.
#include "metrics/numbers/distances.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "base/error.h"
#include "kernels/gemm/gemm_onednn.h"
#include "metrics/numbers/frechet.h"
#include "metrics/numbers/neighbours.h"

namespace firn {
namespace {

std::vector<Neighbour> plain_nearest(const Matrix& a, const Matrix& b, int k) {
  std::vector<Neighbour> all, nearest;
  for (int64_t i = 0; i < a.rows; ++i) {
    all.clear();
    for (int64_t j = 0; j < b.rows; ++j)
      if (&a != &b || i != j) all.push_back({squared_distance(a.row(i), b.row(j), a.columns), j});
    std::ranges::sort(all);
    nearest.insert(nearest.end(), all.begin(), all.begin() + k);
  }
  return nearest;
}

Manifolds plain_manifolds(const Matrix& reals, const Matrix& fakes, int k, Border border) {
  const auto of_reals = plain_nearest(reals, reals, k), of_fakes = plain_nearest(fakes, fakes, k);
  const auto inside = [&](double d, double r) { return border == Border::inside ? d <= r : d < r; };
  std::vector<int> holding(size_t(fakes.rows)), held(size_t(reals.rows)), covered(size_t(reals.rows));
  for (int64_t i = 0; i < reals.rows; ++i)
    for (int64_t j = 0; j < fakes.rows; ++j) {
      const double d = squared_distance(reals.row(i), fakes.row(j), reals.columns);
      const bool in_real = inside(d, of_reals[size_t(i * k + k - 1)].square);
      holding[size_t(j)] += in_real;
      covered[size_t(i)] |= in_real;
      held[size_t(i)] |= inside(d, of_fakes[size_t(j * k + k - 1)].square);
    }
  Manifolds m;
  for (const int n : holding) {
    m.precision += n > 0;
    m.density += double(n) / k;
  }
  m.precision /= double(fakes.rows);
  m.density /= double(fakes.rows);
  m.recall = double(std::ranges::count(held, 1)) / double(reals.rows);
  m.coverage = double(std::ranges::count(covered, 1)) / double(reals.rows);
  return m;
}

struct Hard {
  std::string name;
  double (*value)(int64_t row, int64_t column, double normal);
};
void PrintTo(const Hard& hard, std::ostream* to) { *to << hard.name; }
const Hard hard_sets[] = {
    {"Normal", [](int64_t, int64_t, double v) { return v; }},
    {"Constant", [](int64_t, int64_t, double) { return 0.1; }},
    {"Duplicates", [](int64_t i, int64_t j, double) { return std::sin(double(i % 7 * 5 + j)); }},
    {"Integers", [](int64_t, int64_t, double v) { return std::round(v); }},
    {"Lattice", [](int64_t i, int64_t j, double) { return double(j == 0   ? i % 17
                                                                 : j == 1 ? i / 17
                                                                          : 0); }},
    {"Huge", [](int64_t, int64_t, double v) { return 1e140 * v; }},
    {"Tiny", [](int64_t, int64_t, double v) { return 1e-140 * v; }},
    {"BothScales", [](int64_t i, int64_t, double v) { return (i % 2 ? 1e-30 : 1e30) * v; }},
    {"Offset", [](int64_t, int64_t, double v) { return 1e6 + 1e-3 * v; }},
    {"Clusters", [](int64_t i, int64_t, double v) { return 1e4 * double(i % 2) + 1e-4 * v; }},
    {"Approaching", [](int64_t i, int64_t, double v) { return 1e3 / double(i + 1) + 1e-9 * v; }}};

class HardSets : public testing::TestWithParam<Hard> {
 protected:
  static Matrix drawn(int64_t rows, uint64_t seed) {
    std::mt19937_64 random(seed);
    Matrix m(rows, 5);
    m.values = normals(rows * m.columns, random);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < m.columns; ++j) m(i, j) = GetParam().value(i, j, m(i, j));
    return m;
  }
};

TEST_P(HardSets, HaveTheNeighboursOfDoubles) {
  const Matrix a = drawn(300, 1), b = drawn(270, 2);
  for (const int k : {1, 4}) {
    EXPECT_EQ(nearest_of_each(a, a, k), plain_nearest(a, a, k));
    EXPECT_EQ(nearest_of_each(a, b, k), plain_nearest(a, b, k));
  }
}

TEST_P(HardSets, HaveTheManifoldsOfDoubles) {
  const Matrix a = drawn(300, 1), b = drawn(270, 2), copy = a;
  for (const Border border : {Border::inside, Border::outside})
    for (const Matrix* fakes : {&b, &copy, &a}) {
      const Manifolds m = compare_manifolds(a, *fakes, 3, border), plain = plain_manifolds(a, *fakes, 3, border);
      EXPECT_EQ(m.precision, plain.precision);
      EXPECT_EQ(m.recall, plain.recall);
      EXPECT_EQ(m.density, plain.density);
      EXPECT_EQ(m.coverage, plain.coverage);
    }
}

TEST_P(HardSets, HaveAFrechetDistance) {
  const Matrix a = drawn(30, 1), b = drawn(4, 2);
  EXPECT_TRUE(std::isfinite(frechet_distance(a, a)));
  EXPECT_TRUE(std::isfinite(frechet_distance(a, b)));
}

INSTANTIATE_TEST_SUITE_P(Of, HardSets, testing::ValuesIn(hard_sets), [](const auto& info) { return info.param.name; });

TEST(Neighbours, OfSeveralTilesAreThoseOfDoubles) {
  std::mt19937_64 random(1);
  Matrix a(1100, 7), b(700, 7);
  for (Matrix* m : {&a, &b}) {
    m->values = normals(m->rows * m->columns, random);
    for (double& v : m->values) v = std::round(2 * v);  // many are as near
  }
  EXPECT_EQ(nearest_of_each(a, a, 3), plain_nearest(a, a, 3));
  EXPECT_EQ(nearest_of_each(a, b, 3), plain_nearest(a, b, 3));
}

TEST(Distances, LieBetweenTheirBounds) {
  std::mt19937_64 random(1);
  const auto drawn = [&](int64_t rows, int64_t columns) {
    Matrix m(rows, columns);
    m.values = normals(rows * columns, random);
    return m;
  };
  const Matrix a = drawn(600, 70), b = drawn(530, 70), c = drawn(4200, 5);
  const std::pair<const Matrix*, const Matrix*> cases[] = {{&a, &b}, {&a, &a}, {&c, &c}};
  for (const DType type : {DType::f32, DType::bf16}) {
    if (type == DType::bf16 && !kernels::onednn::has_bf16()) continue;
    for (const auto& [x, y] : cases) {
      const Distances distances = x == y ? Distances(*x, type) : Distances(*x, *y, type);
      const bool near_by_chance = x->columns < 10;
      std::vector<int64_t> met(size_t(x->rows)), sum_of_met(size_t(x->rows));
      std::atomic hold = true;
      distances.for_parts([&](const Distances::Part& p) {
        for (int64_t j = p.first; j < p.first + std::ssize(p.least); ++j) {
          ++met[size_t(p.row)];
          sum_of_met[size_t(p.row)] += j;
          const float least = p.least[size_t(j - p.first)], most = distances.most(least, p.row, j);
          const float square = distances.in_units(distances.exactly(p.row, j));
          if (x == y && p.row == j
                  ? !std::isinf(least)
                  : !(least <= square && square <= most) || (!near_by_chance && most - least > 2e-2f * square))
            hold = false;
        }
      });
      EXPECT_TRUE(hold);
      EXPECT_EQ(met, std::vector<int64_t>(met.size(), y->rows));
      EXPECT_EQ(sum_of_met, std::vector<int64_t>(met.size(), y->rows * (y->rows - 1) / 2));
    }
  }
}

TEST(Distances, NeedFiniteFeaturesOfOneNetwork) {
  Matrix a(3, 2);
  EXPECT_THROW(Distances(a, Matrix(3, 4)), ShapeError);
  for (const double bad : {double(NAN), double(INFINITY), 1e200}) {
    a(1, 1) = bad;
    EXPECT_THROW(Distances(a, a), Error);
  }
  EXPECT_THROW(nearest_of_each(Matrix(3, 2), Matrix(2, 2), 3), Error);
}

}  // namespace
}  // namespace firn
