#include "metrics/numbers/kernel_distance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "base/error.h"
#include "metrics/numbers/blas.h"
#include "metrics/numbers/threads.h"

namespace firn {
namespace {

constexpr int64_t kTile = 512;  // rows and columns

double kernel(double dot, int64_t columns) {
  const double v = dot / double(columns) + 1;
  return v * v * v;
}

struct Subset {
  std::vector<int64_t> a, b;  // rows
};

// [subsets, m.rows]: 1 for the rows that are in it, 0 for others.
Matrix members(const std::vector<Subset>& subsets, std::vector<int64_t> Subset::*of, const Matrix& m) {
  Matrix in(std::ssize(subsets), m.rows);
  for (size_t s = 0; s < subsets.size(); ++s)
    for (const int64_t i : subsets[s].*of) in(int64_t(s), i) = 1;
  return in;
}

// Of each subset the sum of k(x_i, y_j); of one set, where i is not j. Kernels are computed once for all subsets.
std::vector<double> sums_of_kernels(const Matrix& x, const Matrix& y, const Matrix& in_x, const Matrix& in_y) {
  const bool of_one = &in_x == &in_y;
  const int64_t down = (x.rows + kTile - 1) / kTile, across = (y.rows + kTile - 1) / kTile, subsets = in_x.rows;
  const Blas& lib = blas();
  Matrix parts(down * across, subsets);
  for_each_on_threads(down * across, [&](int64_t t) {
    const int64_t row = t / across * kTile, column = t % across * kTile;
    if (of_one && column < row) return;
    std::vector<double> tile(kTile * kTile), sums(size_t(kTile * subsets));
    const int64_t rows = std::min(kTile, x.rows - row), columns = std::min(kTile, y.rows - column);
    product_of_rows({x, row, row + rows}, {y, column, column + columns}, tile.data());
    for (int64_t i = 0; i < rows; ++i) {
      double* const kernels = tile.data() + i * columns;
      for (int64_t j = 0; j < columns; ++j) kernels[j] = kernel(kernels[j], x.columns);
      if (of_one && row == column) std::fill_n(kernels, i + 1, 0.0);
    }
    lib.gemm(CblasRowMajor, CblasNoTrans, CblasTrans, int(subsets), int(rows), int(columns), of_one ? 2 : 1,
             in_y.row(0) + column, int(y.rows), tile.data(), int(columns), 0, sums.data(), int(rows));
    for (int64_t s = 0; s < subsets; ++s)
      parts(t, s) = std::inner_product(in_x.row(s) + row, in_x.row(s) + row + rows, sums.data() + s * rows, 0.0);
  });
  std::vector<double> all(size_t(subsets), 0.0);
  for (int64_t t = 0; t < parts.rows; ++t)
    for (int64_t s = 0; s < subsets; ++s) all[size_t(s)] += parts(t, s);
  return all;
}

std::vector<double> squared_discrepancies(const Matrix& a, const Matrix& b, const std::vector<Subset>& subsets) {
  check_columns(a, b);
  const double m = double(subsets[0].a.size());
  const Matrix in_a = members(subsets, &Subset::a, a), in_b = members(subsets, &Subset::b, b);
  const auto aa = sums_of_kernels(a, a, in_a, in_a), bb = sums_of_kernels(b, b, in_b, in_b),
             ab = sums_of_kernels(a, b, in_a, in_b);
  std::vector<double> all;
  for (size_t i = 0; i < subsets.size(); ++i) all.push_back((aa[i] + bb[i]) / (m * (m - 1)) - 2 * ab[i] / (m * m));
  return all;
}

}  // namespace

double squared_discrepancy(const Matrix& a, const Matrix& b) {
  Subset all{std::vector<int64_t>(size_t(a.rows)), std::vector<int64_t>(size_t(b.rows))};
  std::iota(all.a.begin(), all.a.end(), 0);
  std::iota(all.b.begin(), all.b.end(), 0);
  return squared_discrepancies(a, b, {all})[0];
}

MeanAndDeviation kernel_distance(const Matrix& a, const Matrix& b, KernelDistance options) {
  const int64_t size = std::min({int64_t{options.size}, a.rows, b.rows});
  if (size < 2) throw Error(fmt::format("a kernel distance needs 2 images or more, there are {}", size));
  std::mt19937_64 random(options.seed);
  std::vector<Subset> subsets(size_t(options.subsets));
  for (Subset& s : subsets) s = {drawn_numbers(a.rows, size, random), drawn_numbers(b.rows, size, random)};
  std::vector<double> all(subsets.size());
  if (std::max(a.rows, b.rows) * std::max(a.rows, b.rows) <= options.subsets * size * size) {
    all = squared_discrepancies(a, b, subsets);
  } else {  // of many images, few are in several subsets
    check_columns(a, b);
    for_each_on_threads(std::ssize(subsets), [&](int64_t i) {
      const Subset& s = subsets[size_t(i)];
      all[size_t(i)] = squared_discrepancy(rows_of(a, s.a), rows_of(b, s.b));
    });
  }
  MeanAndDeviation d;
  d.mean = std::accumulate(all.begin(), all.end(), 0.0) / double(all.size());
  for (const double v : all) d.deviation += (v - d.mean) * (v - d.mean) / double(all.size());
  d.deviation = std::sqrt(d.deviation);
  return d;
}

}  // namespace firn
