#include "metrics/numbers/frechet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "metrics/numbers/threads.h"

namespace firn {
namespace {

void require_two(const Matrix& m) {
  if (m.rows < 2) throw Error(fmt::format("a Frechet distance needs 2 images or more, there are {}", m.rows));
}

Gaussian fit(const Matrix& features) {
  Gaussian g{.rows = features.rows, .mean = mean_of_rows(features)};
  g.root = centred(features, g.mean);
  g.scatter = std::inner_product(g.root.values.begin(), g.root.values.end(), g.root.values.begin(), 0.0);
  return g;
}

double distance_of(const Gaussian& a, const Gaussian& b, Covariance covariance) {
  const auto share = [&](const Gaussian& g) { return double(covariance == Covariance::by_n ? g.rows : g.rows - 1); };
  double distance = a.scatter / share(a) + b.scatter / share(b);
  for (size_t j = 0; j < a.mean.size(); ++j) distance += (a.mean[j] - b.mean[j]) * (a.mean[j] - b.mean[j]);
  // Tr (A B)^(1/2) for A = a^T a, B = b^T b: the nuclear norm of a b^T, and of R_a R_b^T, as Q are rotations.
  const std::vector<double> values = singular_values(product_of_rows(a.root, b.root));
  const double trace = std::accumulate(values.begin(), values.end(), 0.0);
  return std::max(0.0, distance - 2 * trace / std::sqrt(share(a) * share(b)));
}

// A triangle pays where both have more images than features.
bool both_reduce(int64_t a, const Matrix& b) { return std::min(a, b.rows) > b.columns; }

}  // namespace

Gaussian fitted(const Matrix& features) {
  require_two(features);
  Gaussian g = fit(features);
  g.root = triangle_of(std::move(g.root));
  return g;
}

double frechet_distance(const Gaussian& a, const Matrix& b, Covariance covariance) {
  require_two(b);
  if (std::ssize(a.mean) != b.columns)
    throw ShapeError(fmt::format("features of {} and of {} numbers are of two networks", a.mean.size(), b.columns));
  Gaussian other = fit(b);
  if (both_reduce(a.rows, b)) other.root = triangle_of(std::move(other.root));
  return distance_of(a, other, covariance);
}

double frechet_distance(const Matrix& a, const Matrix& b, Covariance covariance) {
  check_columns(a, b);
  require_two(a);
  require_two(b);
  Gaussian fits[] = {fit(a), fit(b)};
  if (both_reduce(a.rows, b))
    for_each_on_threads(2, [&](int64_t i) { fits[i].root = triangle_of(std::move(fits[i].root)); });
  return distance_of(fits[0], fits[1], covariance);
}

}  // namespace firn
