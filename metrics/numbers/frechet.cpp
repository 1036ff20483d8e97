#include "metrics/numbers/frechet.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "base/error.h"

namespace firn {
namespace {

// Tr (A B)^(1/2) for A = a^T a, B = b^T b.
double trace_of_root(const Matrix& a, const Matrix& b) {
  if (std::min(a.rows, b.rows) < a.columns) {
    const std::vector<double> values = singular_values(product_of_rows(a, b));
    return std::accumulate(values.begin(), values.end(), 0.0);
  }
  // S has the eigenvectors of A and the roots of its eigenvalues; S B S is M M^T with M = (b S)^T.
  const Eigen e = eigen_of_symmetric(gram_of_columns(a), true);
  Matrix scaled = e.vectors;  // rows v_k times sqrt(lambda_k): then b scaled^T = b S up to a rotation
  for (int64_t k = 0; k < scaled.rows; ++k)
    for (int64_t j = 0; j < scaled.columns; ++j) scaled(k, j) *= std::sqrt(std::max(e.values[size_t(k)], 0.0));
  const Eigen product = eigen_of_symmetric(gram_of_columns(product_of_rows(b, scaled)), false);
  double sum = 0;
  for (const double v : product.values) sum += std::sqrt(std::max(v, 0.0));
  return sum;
}

}  // namespace

double frechet_distance(const Matrix& a, const Matrix& b, Covariance covariance) {
  if (a.columns != b.columns)
    throw ShapeError(fmt::format("features of {} and of {} numbers are of two networks", a.columns, b.columns));
  for (const Matrix* m : {&a, &b})
    if (m->rows < 2) throw Error(fmt::format("a Frechet distance needs 2 images or more, there are {}", m->rows));
  const auto share = [&](const Matrix& m) { return double(covariance == Covariance::by_n ? m.rows : m.rows - 1); };
  const std::vector<double> mean_a = mean_of_rows(a), mean_b = mean_of_rows(b);
  const Matrix x = centred(a), y = centred(b);
  const auto square = [](const std::vector<double>& v) {
    return std::inner_product(v.begin(), v.end(), v.begin(), 0.0);
  };
  double distance = square(x.values) / share(a) + square(y.values) / share(b);
  for (size_t j = 0; j < mean_a.size(); ++j) distance += (mean_a[j] - mean_b[j]) * (mean_a[j] - mean_b[j]);
  return distance - 2 * trace_of_root(x, y) / std::sqrt(share(a) * share(b));
}

}  // namespace firn
