// Squared distances between the rows of two matrices: bounds on all of them by products in bf16 where the processor has
// it, of floats elsewhere, and the number itself in double for what the bounds leave open. Decisions are those of
// doubles.
#pragma once
#include <algorithm>
#include <memory>
#include <optional>

#include "kernels/core/types.h"
#include "metrics/numbers/matrix.h"

namespace firn {

// |a - b|^2, the sum of squared differences: 0 for equal rows, the same bits both ways.
double squared_distance(const double* a, const double* b, int64_t columns);

class Distances {
 public:
  // References stay: matrices must live as long. Of all pairs, or of the rows of one matrix. ShapeError for features of
  // two networks, Error for numbers that are not finite.
  // `type` of products: f32 or bf16; unless given, what is faster.
  Distances(const Matrix& a, const Matrix& b, std::optional<DType> type = {}) : Distances(a, &b, type) {}
  explicit Distances(const Matrix& a, std::optional<DType> type = {}) : Distances(a, nullptr, type) {}

  // Lower bounds on the distances of a row of a to the rows first... of b.
  struct Part {
    int64_t row, first;
    std::span<const float> least;
  };
  // f(part) on all threads until each row has met all others, in no order, but those of one row one after the other. Of
  // one matrix, a row is infinitely far from itself.
  void for_parts(const std::function<void(const Part&)>& f) const;

  // The upper bound that goes with a lower one.
  float most(float least, int64_t i, int64_t j) const { return least + x_.slack[size_t(i)] + y().slack[size_t(j)]; }
  double exactly(int64_t i, int64_t j) const { return squared_distance(a_.row(i), b_.row(j), a_.columns); }
  // A squared distance in the unit of the bounds. Comparisons with bounds hold in spite of its rounding.
  float in_units(double square) const { return float(square * unit_); }

 private:
  Distances(const Matrix& a, const Matrix* b, std::optional<DType> type);
  static DType type_for(const Matrix& a, const Matrix* b);
  struct Side {
    std::unique_ptr<char[]> values;  // rows less a centre, of type_
    std::vector<float> base, slack;  // least = base_i + base_j - 2 x_i y_j; most = least + slack_i + slack_j
    const char* row(int64_t i, int64_t columns, DType type) const { return values.get() + i * columns * size_of(type); }
  };
  template <class T>
  Side side(const Matrix& m, const std::vector<double>& centre, double scale) const;
  const Side& y() const { return of_one_ ? x_ : y_; }

  const Matrix &a_, &b_;
  bool of_one_;
  DType type_;
  double unit_ = 1;
  Side x_, y_;  // y_ is empty where b is a
};

struct Neighbour {
  double square;  // of the distance
  int64_t row;
  auto operator<=>(const Neighbour&) const = default;
};

// f(j) where near(j) holds, for which the compiler finds vectors: few should be.
template <class Near, class F>
void for_few(int64_t count, Near near, F f) {
  constexpr int64_t at_once = 64;
  for (int64_t begin = 0; begin < count; begin += at_once) {
    const int64_t end = std::min(begin + at_once, count);
    int any = 0;
#pragma omp simd reduction(| : any)
    for (int64_t j = begin; j < end; ++j) any |= near(j);
    if (!any) continue;
    for (int64_t j = begin; j < end; ++j)
      if (near(j)) f(j);
  }
}

// Of each row of a its k nearest rows of b, nearest first and the lower number of two as near: [a.rows, k]. Where b is
// a itself, a row is no neighbour of its own. Error where there are fewer.
std::vector<Neighbour> nearest_of_each(const Matrix& a, const Matrix& b, int k);

}  // namespace firn
