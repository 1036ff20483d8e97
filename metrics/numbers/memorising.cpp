#include "metrics/numbers/memorising.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "metrics/numbers/distances.h"
#include "metrics/numbers/neighbours.h"

namespace firn {
namespace {

struct Share {
  double value;
  int64_t of;
  double variance() const { return value * (1 - value) / double(of); }
};

Share nearer_than_neighbours(const std::vector<double>& own, const Nearest& nearest) {
  int64_t nearer = 0;
  for (size_t i = 0; i < nearest.row.size(); ++i)  // an image that is in the set twice has no distance to itself
    nearer += nearest.square[i] < own[size_t(nearest.row[i])] || nearest.square[i] == 0;
  return {double(nearer) / double(nearest.row.size()), std::ssize(nearest.row)};
}

Share nearer_than_neighbours(const Matrix& train, const Matrix& others) {
  return nearer_than_neighbours(squared_radii(train, 1), nearest_rows(others, train));
}

// Every other image against the rest, both ways.
Share of_halves(const Matrix& train) {
  Matrix halves[2];
  for (int h = 0; h < 2; ++h) {
    halves[h] = Matrix((train.rows + 1 - h) / 2, train.columns);
    for (int64_t i = 0; i < halves[h].rows; ++i)
      std::copy_n(train.row(2 * i + h), train.columns, halves[h].values.begin() + i * train.columns);
  }
  const Share a = nearer_than_neighbours(halves[0], halves[1]), b = nearer_than_neighbours(halves[1], halves[0]);
  return {(a.value * double(a.of) + b.value * double(b.of)) / double(a.of + b.of), a.of + b.of};
}

}  // namespace

Nearest nearest_rows(const Matrix& a, const Matrix& b) {
  if (b.rows == 0) throw Error("there is no image to be near to");
  Nearest n;
  for (const Neighbour& nearest : nearest_of_each(a, b, 1)) {
    n.row.push_back(nearest.row);
    n.square.push_back(nearest.square);
  }
  return n;
}

Spacing spacing(const Matrix& train, const Matrix& left_out) {
  if (train.rows < 4)
    throw Error(fmt::format("whether {} training images were memorised cannot be told from so few", train.rows));
  std::vector<double> own = squared_radii(train, 1);
  const Share expected =
      left_out.rows > 0 ? nearer_than_neighbours(own, nearest_rows(left_out, train)) : of_halves(train);
  return {std::move(own), expected.value, expected.of};
}

Memorising memorising(const Matrix& train, const Spacing& spacing, const Matrix& samples) {
  if (samples.rows < 1) throw Error("whether training images were memorised cannot be told without a sample");
  Memorising m;
  m.nearest = nearest_rows(samples, train);
  const Share share = nearer_than_neighbours(spacing.own, m.nearest), expected{spacing.expected, spacing.of};
  m.share = share.value;
  m.expected = expected.value;
  const double beyond = m.share - m.expected;
  m.flagged = beyond > 0.1 && beyond > 4 * std::sqrt(share.variance() + expected.variance());
  return m;
}

}  // namespace firn
