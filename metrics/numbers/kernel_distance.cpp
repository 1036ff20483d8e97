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

struct Subset {
  std::vector<int64_t> a, b;  // rows
};

// Of each subset the sum of k(x_i, y_j), from the kernels of all rows, which are computed once.
std::vector<double> sums_of_kernels(const Matrix& x, const Matrix& y, const std::vector<Subset>& subsets,
                                    std::vector<int64_t> Subset::*of_x, std::vector<int64_t> Subset::*of_y) {
  Matrix kernels = product_of_rows(x, y);
#pragma omp parallel for
  for (double& k : kernels.values) k = kernel(k, x.columns);
  std::vector<double> sums(subsets.size());
#pragma omp parallel for schedule(dynamic)
  for (size_t s = 0; s < subsets.size(); ++s)
    for (const int64_t i : subsets[s].*of_x)
      for (const int64_t j : subsets[s].*of_y)
        if (&x != &y || i != j) sums[s] += kernels(i, j);
  return sums;
}

// The same as squared_discrepancy() of each subset.
std::vector<double> squared_discrepancies(const Matrix& a, const Matrix& b, const std::vector<Subset>& subsets) {
  const double m = double(subsets[0].a.size());
  const auto aa = sums_of_kernels(a, a, subsets, &Subset::a, &Subset::a),
             bb = sums_of_kernels(b, b, subsets, &Subset::b, &Subset::b),
             ab = sums_of_kernels(a, b, subsets, &Subset::a, &Subset::b);
  std::vector<double> all;
  for (size_t i = 0; i < subsets.size(); ++i) all.push_back((aa[i] + bb[i]) / (m * (m - 1)) - 2 * ab[i] / (m * m));
  return all;
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
  std::vector<Subset> subsets(size_t(options.subsets));
  for (Subset& s : subsets) s = {drawn_numbers(a.rows, size, random), drawn_numbers(b.rows, size, random)};
  // Few images are in many subsets; of many, the kernels of all pairs would be more work, and fill the memory.
  constexpr int64_t most = 1 << 26;
  const int64_t pairs = std::max(a.rows, b.rows) * std::max(a.rows, b.rows);
  std::vector<double> all;
  if (pairs <= std::min<int64_t>(most, options.subsets * size * size))
    all = squared_discrepancies(a, b, subsets);
  else
    for (const Subset& s : subsets) all.push_back(squared_discrepancy(rows_of(a, s.a), rows_of(b, s.b)));
  MeanAndDeviation d;
  d.mean = std::accumulate(all.begin(), all.end(), 0.0) / double(all.size());
  for (const double v : all) d.deviation += (v - d.mean) * (v - d.mean) / double(all.size());
  d.deviation = std::sqrt(d.deviation);
  return d;
}

}  // namespace firn
