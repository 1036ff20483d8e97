// Logistic regression of two classes, and how well a line tells features of two sets apart: the linear probe that
// chooses networks to judge by (Kumari et al. 2022, arXiv 2112.09130).
#pragma once
#include <functional>

#include "metrics/numbers/matrix.h"

namespace firn {

// A row is of the first class where weights . row + intercept > 0.
struct Logistic {
  std::vector<double> weights;
  double intercept = 0;
  double operator()(const double* row) const;
};

// The least of c (the sum of log(1 + exp(-y f)) over rows) + |weights|^2 / 2, as scikit-learn's LogisticRegression has
// it: of `ones` y is 1, of `zeros` -1. By Newton's method, in the span of the rows where they are fewer than features.
// Error without a row of either, and for values that are not finite.
Logistic logistic_regression(const Matrix& ones, const Matrix& zeros, double c);

double accuracy(const Logistic& line, const Matrix& ones, const Matrix& zeros);  // share of rows

struct Probe {
  double accuracy = 0, deviation = 0;  // over repeats: mean, and standard deviation of one
};
// Fits a line on half of the reals, which each repeat shuffles, and half of its fakes, and is right about so many of
// the others. `fakes(repeat)` gives as many rows. Error for fewer than two reals.
Probe linear_probe(const Matrix& reals, const std::function<Matrix(int repeat)>& fakes, int repeats, uint64_t seed);

}  // namespace firn
