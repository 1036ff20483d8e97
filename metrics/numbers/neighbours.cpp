#include "metrics/numbers/neighbours.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace firn {

std::vector<double> squared_radii(const Matrix& a, int k) {
  if (a.rows <= k)
    throw Error(fmt::format("{} nearest neighbours need more than {} images, there are {}", k, k, a.rows));
  std::vector<double> radii(size_t(a.rows));
  for_distances(a, a, [&](int64_t first, const Matrix& squares) {
    std::vector<double> row;
    for (int64_t i = 0; i < squares.rows; ++i) {
      row.assign(squares.row(i), squares.row(i) + squares.columns);
      row[size_t(first + i)] = 0;  // itself, but for rounding
      std::nth_element(row.begin(), row.begin() + k, row.end());
      radii[size_t(first + i)] = row[size_t(k)];
    }
  });
  return radii;
}

Manifolds compare_manifolds(const Matrix& reals, const Matrix& fakes, int k, Border border) {
  const std::vector<double> of_reals = squared_radii(reals, k), of_fakes = squared_radii(fakes, k);
  const auto inside = [border](double square, double radius) {
    return border == Border::inside ? square <= radius : square < radius;
  };
  std::vector<int64_t> holding(size_t(fakes.rows));  // balls of reals that hold this fake
  std::vector<char> held(size_t(reals.rows));        // whether a ball of a fake holds this real
  std::vector<char> covered(size_t(reals.rows));     // whether its own ball holds a fake
  for_distances(reals, fakes, [&](int64_t first, const Matrix& squares) {
    for (int64_t i = 0; i < squares.rows; ++i) {
      const auto real = size_t(first + i);
      for (int64_t j = 0; j < fakes.rows; ++j) {
        held[real] |= char(inside(squares(i, j), of_fakes[size_t(j)]));
        covered[real] |= char(inside(squares(i, j), of_reals[real]));
      }
    }
  });
  for_distances(fakes, reals, [&](int64_t first, const Matrix& squares) {
    for (int64_t i = 0; i < squares.rows; ++i)
      for (int64_t j = 0; j < reals.rows; ++j) holding[size_t(first + i)] += inside(squares(i, j), of_reals[size_t(j)]);
  });
  Manifolds m;
  for (const int64_t n : holding) {
    m.precision += n > 0;
    m.density += double(n) / k;
  }
  for (size_t i = 0; i < held.size(); ++i) {
    m.recall += held[i];
    m.coverage += covered[i];
  }
  m.precision /= double(fakes.rows);
  m.density /= double(fakes.rows);
  m.recall /= double(reals.rows);
  m.coverage /= double(reals.rows);
  return m;
}

}  // namespace firn
