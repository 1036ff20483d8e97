#include "metrics/numbers/kernel_distance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "base/error.h"

namespace firn {
namespace {

double kernel(double dot, int64_t columns) {
  const double v = dot / double(columns) + 1;
  return v * v * v;
}

double sum_of_kernels(const Matrix& a, const Matrix& b, bool without_diagonal) {
  const Matrix dots = product_of_rows(a, b);
  double sum = 0;
  for (int64_t i = 0; i < dots.rows; ++i)
    for (int64_t j = 0; j < dots.columns; ++j)
      if (!without_diagonal || i != j) sum += kernel(dots(i, j), a.columns);
  return sum;
}

}  // namespace

double squared_discrepancy(const Matrix& a, const Matrix& b) {
  const double m = double(a.rows);
  return (sum_of_kernels(a, a, true) + sum_of_kernels(b, b, true)) / (m * (m - 1)) -
         2 * sum_of_kernels(a, b, false) / (m * m);
}

MeanAndDeviation kernel_distance(const Matrix& a, const Matrix& b, KernelDistance options) {
  const int64_t size = std::min({int64_t{options.size}, a.rows, b.rows});
  if (size < 2) throw Error(fmt::format("a kernel distance needs 2 images or more, there are {}", size));
  std::mt19937_64 random(options.seed);
  std::vector<double> all;
  for (int i = 0; i < options.subsets; ++i) {
    const Matrix x = drawn_rows(a, size, random), y = drawn_rows(b, size, random);
    all.push_back(squared_discrepancy(x, y));
  }
  MeanAndDeviation d;
  d.mean = std::accumulate(all.begin(), all.end(), 0.0) / double(all.size());
  for (const double v : all) d.deviation += (v - d.mean) * (v - d.mean) / double(all.size());
  d.deviation = std::sqrt(d.deviation);
  return d;
}

}  // namespace firn
