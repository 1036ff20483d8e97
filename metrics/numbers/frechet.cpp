#include "metrics/numbers/frechet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace firn {
namespace {

// Tr (A B)^(1/2) for A = a^T a, B = b^T b: the nuclear norm of a b^T, and of R_a R_b^T, as Q are rotations.
double trace_of_root(Matrix a, Matrix b) {
  const bool many = std::min(a.rows, b.rows) > a.columns;
#pragma omp parallel for schedule(static, 1) if (many)
  for (Matrix* m : {&a, &b})
    if (many) *m = triangle_of(std::move(*m));
  const std::vector<double> values = singular_values(product_of_rows(a, b));
  return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace

double frechet_distance(const Matrix& a, const Matrix& b, Covariance covariance) {
  check_columns(a, b);
  for (const Matrix* m : {&a, &b})
    if (m->rows < 2) throw Error(fmt::format("a Frechet distance needs 2 images or more, there are {}", m->rows));
  const auto share = [&](const Matrix& m) { return double(covariance == Covariance::by_n ? m.rows : m.rows - 1); };
  const std::vector<double> mean_a = mean_of_rows(a), mean_b = mean_of_rows(b);
  Matrix x = centred(a, mean_a), y = centred(b, mean_b);
  const auto square = [](const std::vector<double>& v) {
    return std::inner_product(v.begin(), v.end(), v.begin(), 0.0);
  };
  double distance = square(x.values) / share(a) + square(y.values) / share(b);
  for (size_t j = 0; j < mean_a.size(); ++j) distance += (mean_a[j] - mean_b[j]) * (mean_a[j] - mean_b[j]);
  return std::max(0.0, distance - 2 * trace_of_root(std::move(x), std::move(y)) / std::sqrt(share(a) * share(b)));
}

}  // namespace firn
