#include "metrics/numbers/neighbours.h"

#include <algorithm>
#include <mutex>

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
  const std::vector<double> of_reals = squared_radii(reals, k), of_fakes = squared_radii(fakes, k);
  const Distances distances(reals, fakes);
  std::vector<float> bars(of_fakes.size());
  std::ranges::transform(of_fakes, bars.begin(), [&](double radius) { return distances.in_units(radius); });

  std::vector<int64_t> holding(size_t(fakes.rows));  // balls of reals that hold this fake
  std::vector<char> held(size_t(reals.rows));        // whether a ball of a fake holds this real
  std::vector<char> covered(size_t(reals.rows));     // whether its own ball holds a fake
  std::mutex adding;
  distances.for_tiles([&](const Distances::Tile& t) {
    std::vector<int64_t> holding_here(size_t(t.columns));
    std::vector<char> held_here(size_t(t.rows)), covered_here(size_t(t.rows));
    for (int64_t i = 0; i < t.rows; ++i) {
      const double radius = of_reals[size_t(t.row + i)];
      const float bar = distances.in_units(radius);
      for (int64_t j = 0; j < t.columns; ++j) {
        const float least = t.least[i * t.columns + j], other_bar = bars[size_t(t.column + j)];
        if (least > std::max(bar, other_bar)) continue;
        const Between between{distances, t.row + i, t.column + j, least, border};
        const bool inside = between.inside(radius, bar);
        holding_here[size_t(j)] += inside;
        covered_here[size_t(i)] |= char(inside);
        if (!held_here[size_t(i)]) held_here[size_t(i)] = between.inside(of_fakes[size_t(t.column + j)], other_bar);
      }
    }
    const std::lock_guard lock(adding);
    for (int64_t j = 0; j < t.columns; ++j) holding[size_t(t.column + j)] += holding_here[size_t(j)];
    for (int64_t i = 0; i < t.rows; ++i) {
      held[size_t(t.row + i)] |= held_here[size_t(i)];
      covered[size_t(t.row + i)] |= covered_here[size_t(i)];
    }
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
