#include "metrics/numbers/neighbours.h"

#include <algorithm>

#include "metrics/numbers/distances.h"

namespace firn {
namespace {

// A pair of rows, and whether a ball around one of them holds the other.
struct Between {
  const Distances& distances;
  int64_t i, j;
  float least;
  Border border;

  bool inside(double radius, float bar) const {
    if (least > bar || (radius == 0 && border == Border::outside)) return false;
    if (distances.most(least, i, j) < bar) return true;
    const double square = distances.exactly(i, j);
    return border == Border::inside ? square <= radius : square < radius;
  }
};

}  // namespace

std::vector<double> squared_radii(const Matrix& a, int k) {
  const std::vector<Neighbour> nearest = nearest_of_each(a, a, k);
  std::vector<double> radii;
  for (size_t i = size_t(k) - 1; i < nearest.size(); i += size_t(k)) radii.push_back(nearest[i].square);
  return radii;
}

Manifolds compare_manifolds(const Matrix& reals, const Matrix& fakes, int k, Border border) {
  return compare_manifolds(reals, squared_radii(reals, k), fakes, k, border);
}

Manifolds compare_manifolds(const Matrix& reals, const std::vector<double>& of_reals, const Matrix& fakes, int k,
                            Border border) {
  const std::vector<double> of_fakes = squared_radii(fakes, k);
  const Distances distances(reals, fakes);
  std::vector<float> bars(of_fakes.size());
  std::ranges::transform(of_fakes, bars.begin(), [&](double radius) { return distances.in_units(radius); });

  std::vector<int64_t> holding(size_t(fakes.rows));  // balls of reals that hold this fake
  std::vector<char> held(size_t(reals.rows));        // whether a ball of a fake holds this real
  std::vector<char> covered(size_t(reals.rows));     // whether its own ball holds a fake
  distances.for_parts([&](const Distances::Part& p) {
    const auto i = size_t(p.row);
    const double radius = of_reals[i];
    const float bar = distances.in_units(radius), *other_bars = bars.data() + p.first;
    const auto near = [&](int64_t j) { return p.least[size_t(j)] <= std::max(bar, other_bars[j]); };
    for_few(std::ssize(p.least), near, [&](int64_t j) {
      const Between between{distances, p.row, p.first + j, p.least[size_t(j)], border};
      const auto fake = size_t(p.first + j);
      if (between.inside(radius, bar)) {
#pragma omp atomic
        ++holding[fake];
        covered[i] = true;
      }
      if (!held[i]) held[i] = between.inside(of_fakes[fake], other_bars[j]);
    });
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
