#include "metrics/numbers/matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "metrics/numbers/blas.h"

namespace firn {
namespace {

constexpr int64_t kTile = 256;  // rows
constexpr int64_t kDraws = 1 << 16;

void check(const char* what, int info) {
  if (info != 0) throw Error(fmt::format("{} did not converge; are the features finite?", what));
}

}  // namespace

Matrix::Matrix(int64_t rows, int64_t columns, std::span<const float> from)
    : rows(rows), columns(columns), values(from.begin(), from.end()) {
  if (std::ssize(from) != rows * columns)
    throw ShapeError(fmt::format("{} numbers are no matrix of {}x{}", from.size(), rows, columns));
}

Matrix Matrix::slice(int64_t begin, int64_t end) const {
  Matrix part(end - begin, columns);
  std::copy(row(begin), row(end), part.values.begin());
  return part;
}

std::vector<int64_t> drawn_numbers(int64_t below, int64_t count, std::mt19937_64& random) {
  if (count > below) throw Error(fmt::format("{} of {} images cannot be drawn", count, below));
  std::vector<int64_t> order(static_cast<size_t>(below));
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = 0; i < count; ++i)
    std::swap(order[size_t(i)], order[size_t(i + int64_t(random() % uint64_t(below - i)))]);
  order.resize(size_t(count));
  return order;
}

Matrix rows_of(const Matrix& a, std::span<const int64_t> numbers) {
  Matrix rows(std::ssize(numbers), a.columns);
  for (int64_t i = 0; i < rows.rows; ++i)
    std::copy_n(a.row(numbers[size_t(i)]), a.columns, rows.values.begin() + i * a.columns);
  return rows;
}

std::vector<double> normals(int64_t count, std::mt19937_64& random) {  // Box and Muller
  std::vector<double> values(static_cast<size_t>(count));
  std::vector<uint64_t> bits(size_t(2 * std::min(count, kDraws)));
  const auto uniform = [](uint64_t v) { return (double(v >> 11) + 0.5) * 0x1p-53; };
  for (int64_t begin = 0; begin < count; begin += kDraws) {
    std::ranges::generate(bits, std::ref(random));
#pragma omp parallel for
    for (int64_t i = begin; i < std::min(begin + kDraws, count); ++i) {
      const uint64_t* two = bits.data() + 2 * (i - begin);
      values[size_t(i)] = std::sqrt(-2 * std::log(uniform(two[0]))) * std::cos(2 * std::numbers::pi * uniform(two[1]));
    }
  }
  return values;
}

void check_columns(const Matrix& a, const Matrix& b) {
  if (a.columns != b.columns)
    throw ShapeError(fmt::format("features of {} and of {} numbers are of two networks", a.columns, b.columns));
}

void product_of_rows(Rows a, Rows b, double* to) {
  const auto rows = int(a.end - a.begin), columns = int(b.end - b.begin), n = int(a.of.columns);
  blas().gemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, columns, n, 1, a.of.row(a.begin), n, b.of.row(b.begin), n,
              0, to, columns);
}

Matrix product_of_rows(const Matrix& a, const Matrix& b) {
  check_columns(a, b);
  Matrix y(a.rows, b.rows);
  blas();
#pragma omp parallel for schedule(dynamic)
  for (int64_t begin = 0; begin < a.rows; begin += kTile)
    product_of_rows({a, begin, std::min(begin + kTile, a.rows)}, {b, 0, b.rows}, y.values.data() + begin * b.rows);
  return y;
}

std::vector<double> mean_of_rows(const Matrix& a) {
  std::vector<double> mean(size_t(a.columns));
#pragma omp parallel for
  for (int64_t first = 0; first < a.columns; first += kTile)
    for (int64_t i = 0; i < a.rows; ++i)
      for (int64_t j = first; j < std::min(first + kTile, a.columns); ++j) mean[size_t(j)] += a(i, j);
  for (double& m : mean) m /= double(a.rows);
  return mean;
}

Matrix centred(const Matrix& a, const std::vector<double>& mean) {
  Matrix y(a.rows, a.columns);
#pragma omp parallel for
  for (int64_t i = 0; i < a.rows; ++i)
    for (int64_t j = 0; j < a.columns; ++j) y(i, j) = a(i, j) - mean[size_t(j)];
  return y;
}

Matrix triangle_of(Matrix a) {
  if (a.rows <= a.columns) return a;
  const int n = int(a.columns), rows = int(a.rows), ask = -1;  // of the transpose, which LAPACK sees: a^T = L Q
  std::vector<double> factors(size_t(n) + 1);
  int info = 0;
  double size = 0;
  blas().lq(&n, &rows, a.values.data(), &n, factors.data(), &size, &ask, &info);
  std::vector<double> work(size_t(size) + 1);
  const int work_size = int(work.size());
  blas().lq(&n, &rows, a.values.data(), &n, factors.data(), work.data(), &work_size, &info);
  check("the triangle", info);
  a.rows = a.columns;
  a.values.resize(size_t(a.rows * a.columns));
  for (int64_t i = 0; i < a.rows; ++i) std::fill_n(a.values.begin() + i * a.columns, i, 0.0);
  return a;
}

namespace {

// Falling. `left`: [rows of the result,a.columns], or null: not wanted.
std::vector<double> decompose(Matrix a, Matrix* left) {
  const int rows = int(a.columns), columns = int(a.rows), ask = -1;  // of the transpose: LAPACK has columns
  std::vector<double> values(size_t(std::min(rows, columns)));
  if (values.empty()) return values;
  const int count = int(values.size());
  Matrix right(left ? columns : 0, left ? count : 0);
  if (left) *left = Matrix(count, rows);
  std::vector<int> whole(8 * values.size());
  int info = 0;
  double size = 0;
  const auto call = [&](double* work, const int* work_size) {
    blas().singular(left ? "S" : "N", &rows, &columns, a.values.data(), &rows, values.data(),
                    left ? left->values.data() : nullptr, &rows, right.values.data(), &count, work, work_size,
                    whole.data(), &info);
  };
  call(&size, &ask);
  std::vector<double> work(size_t(size) + 1);
  const int work_size = int(work.size());
  call(work.data(), &work_size);
  check("the singular values", info);
  return values;
}

}  // namespace

std::vector<double> singular_values(Matrix a) { return decompose(std::move(a), nullptr); }

Eigen eigen_of_products(Matrix a) {
  Eigen e;
  e.values = decompose(triangle_of(std::move(a)), &e.vectors);
  for (double& v : e.values) v *= v;
  for (int64_t i = 0; i < e.vectors.rows; ++i) {
    double* const row = &e.vectors(i, 0);
    const auto larger = [](double x, double y) { return std::abs(x) < std::abs(y); };
    if (*std::max_element(row, row + e.vectors.columns, larger) < 0)
      std::transform(row, row + e.vectors.columns, row, std::negate{});
  }
  return e;
}

}  // namespace firn
