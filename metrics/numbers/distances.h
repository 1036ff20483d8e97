// Squared distances between the rows of two matrices: bounds on all of them by products in single precision, and the
// number itself in double for what the bounds leave open. Decisions are those of doubles, at the speed of floats.
#pragma once
#include <memory>

#include "metrics/numbers/matrix.h"

namespace firn {

// |a - b|^2, the sum of squared differences: 0 for equal rows, the same bits both ways.
double squared_distance(const double* a, const double* b, int64_t columns);

class Distances {
 public:
  // References stay: matrices must live as long. Of all pairs, or of the rows of one matrix. ShapeError for features of
  // two networks, Error for numbers that are not finite.
  Distances(const Matrix& a, const Matrix& b) : Distances(a, b, false) {}
  explicit Distances(const Matrix& a) : Distances(a, a, true) {}

  // Lower bounds on the distances of rows a_row... and b_column...
  struct Tile {
    int64_t row, rows, column, columns;
    const float* least;  // [rows, columns]
  };
  // f(tile) on all threads, in no order; of one matrix, the tiles on the diagonal and above alone.
  void for_tiles(const std::function<void(const Tile&)>& f) const;

  // The upper bound that goes with a lower one.
  float most(float least, int64_t i, int64_t j) const { return least + x_.slack[size_t(i)] + y().slack[size_t(j)]; }
  double exactly(int64_t i, int64_t j) const { return squared_distance(a_.row(i), b_.row(j), a_.columns); }
  // A squared distance in the unit of the bounds. Comparisons with bounds hold in spite of its rounding.
  float in_units(double square) const { return float(square * unit_); }
  bool of_one() const { return of_one_; }

 private:
  Distances(const Matrix& a, const Matrix& b, bool of_one);
  struct Side {
    std::unique_ptr<float[]> values;  // rows less a centre
    std::vector<float> base, slack;   // least = base_i + base_j - 2 x_i y_j; most = least + slack_i + slack_j
  };
  Side side(const Matrix& m, const std::vector<double>& centre, double scale) const;
  const Side& y() const { return of_one_ ? x_ : y_; }

  const Matrix &a_, &b_;
  bool of_one_;
  double unit_ = 1;
  Side x_, y_;  // y_ is empty where b is a
};

struct Neighbour {
  double square;  // of the distance
  int64_t row;
  auto operator<=>(const Neighbour&) const = default;
};
// Of each row of a its k nearest rows of b, nearest first and the lower number of two as near: [a.rows, k]. Where b is
// a itself, a row is no neighbour of its own. Error where there are fewer.
std::vector<Neighbour> nearest_of_each(const Matrix& a, const Matrix& b, int k);

}  // namespace firn
