#include "metrics/numbers/logistic.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "metrics/numbers/blas.h"

namespace firn {
namespace {

constexpr double kInverseStrength = 0.2;  // scikit-learn's C, as published
constexpr int kMostSteps = 100;
// Of what a step of Newton's would still gain, relative to the loss: near the end rounding hides whether it does.
constexpr double kDone = 1e-20, kNear = 1e-10;

Matrix transposed(const Matrix& a) {
  Matrix t(a.columns, a.rows);
#pragma omp parallel for
  for (int64_t j = 0; j < a.columns; ++j)
    for (int64_t i = 0; i < a.rows; ++i) t(j, i) = a(i, j);
  return t;
}

double dot(const double* a, const double* b, int64_t n) { return std::inner_product(a, a + n, b, 0.0); }

// The x of a x = b, for a that is symmetric and positive definite.
std::vector<double> solved(Matrix a, std::vector<double> b) {
  const int n = int(a.rows), one = 1;
  int info = 0;
  blas().solve("U", &n, &one, a.values.data(), &n, b.data(), &n, &info);
  if (info != 0 || !std::ranges::all_of(b, [](double v) { return std::isfinite(v); }))
    throw Error("logistic regression: there is no step; are the features finite?");
  return b;
}

struct Optimum {
  std::vector<double> left;  // of each row the share of the first class that is not explained: y - p, for 1 and 0
  double intercept = 0;
};

// The problem in coordinates of its own. The last one is the intercept's, which the penalty leaves out.
class Problem {
 public:
  // rows [n,m], the first `ones` of them of the first class.
  Problem(const Matrix& rows, int64_t ones, double c) : rows_(rows.rows, rows.columns + 1), ones_(ones), c_(c) {
    for (int64_t i = 0; i < rows.rows; ++i) {
      std::copy_n(rows.row(i), rows.columns, &rows_(i, 0));
      rows_(i, rows.columns) = 1;
    }
    columns_ = transposed(rows_);
  }

  Optimum solve() const {
    std::vector<double> w(size_t(rows_.columns));
    double loss = value(w);
    for (int step = 0;; ++step) {
      Optimum now{.left = values(w), .intercept = w.back()};
      Matrix weighed = columns_;
      std::vector<double> root(now.left.size()), slope = w;
      for (int64_t i = 0; i < rows_.rows; ++i) {
        double& f = now.left[size_t(i)];
        const double p = 1 / (1 + std::exp(-f));
        root[size_t(i)] = std::sqrt(c_ * p * (1 - p));
        f = (i < ones_ ? 1 : 0) - p;
      }
      slope.back() = 0;
#pragma omp parallel for
      for (int64_t j = 0; j < rows_.columns; ++j) {
        slope[size_t(j)] -= c_ * dot(columns_.row(j), now.left.data(), rows_.rows);
        for (int64_t i = 0; i < rows_.rows; ++i) weighed(j, i) *= root[size_t(i)];
      }
      Matrix curvature = product_of_rows(weighed, weighed);
      for (int64_t j = 0; j + 1 < rows_.columns; ++j) curvature(j, j) += 1;
      const std::vector<double> to = solved(std::move(curvature), slope);
      const double gain = dot(slope.data(), to.data(), std::ssize(to));
      if (gain <= kDone * loss || step == kMostSteps) return now;
      double found = loss;
      std::vector<double> next;
      for (double length = 1; length > 0; length /= 2) {
        next = w;
        for (size_t j = 0; j < w.size(); ++j) next[j] -= length * to[j];
        found = value(next);
        if (found <= loss - length * gain / 4 || gain < kNear * loss) break;
      }
      w = std::move(next);
      loss = found;
    }
  }

 private:
  std::vector<double> values(const std::vector<double>& w) const {
    std::vector<double> f(static_cast<size_t>(rows_.rows));
#pragma omp parallel for
    for (int64_t i = 0; i < rows_.rows; ++i) f[size_t(i)] = dot(rows_.row(i), w.data(), rows_.columns);
    return f;
  }
  double value(const std::vector<double>& w) const {
    const std::vector<double> f = values(w);
    double sum = 0;
    for (int64_t i = 0; i < rows_.rows; ++i) {
      const double wrong = i < ones_ ? -f[size_t(i)] : f[size_t(i)];
      sum += std::max(wrong, 0.0) + std::log1p(std::exp(-std::abs(wrong)));
    }
    return c_ * sum + dot(w.data(), w.data(), std::ssize(w) - 1) / 2;
  }

  Matrix rows_, columns_;
  int64_t ones_;
  double c_;
};

}  // namespace

double Logistic::operator()(const double* row) const {
  return dot(row, weights.data(), std::ssize(weights)) + intercept;
}

Logistic logistic_regression(const Matrix& ones, const Matrix& zeros, double c) {
  check_columns(ones, zeros);
  if (ones.rows == 0 || zeros.rows == 0) throw Error("logistic regression needs rows of both classes");
  Matrix rows = ones;
  rows.rows += zeros.rows;
  rows.values.insert(rows.values.end(), zeros.values.begin(), zeros.values.end());
  // The weights lie in the span of the rows: fewer of them are as many coordinates, R^T of X^T = Q R.
  const bool few = rows.rows < rows.columns;
  const Optimum found = Problem(few ? transposed(triangle_of(transposed(rows))) : rows, ones.rows, c).solve();
  Logistic line{.weights = std::vector<double>(size_t(rows.columns)), .intercept = found.intercept};
  for (int64_t i = 0; i < rows.rows; ++i)  // where the slope is 0: w = c X^T (y - p)
    for (int64_t j = 0; j < rows.columns; ++j) line.weights[size_t(j)] += c * found.left[size_t(i)] * rows(i, j);
  return line;
}

double accuracy(const Logistic& line, const Matrix& ones, const Matrix& zeros) {
  int64_t right = 0;
  for (int64_t i = 0; i < ones.rows; ++i) right += line(ones.row(i)) > 0;
  for (int64_t i = 0; i < zeros.rows; ++i) right += line(zeros.row(i)) <= 0;
  return double(right) / double(ones.rows + zeros.rows);
}

Probe linear_probe(const Matrix& reals, const std::function<Matrix(int)>& fakes, int repeats, uint64_t seed) {
  if (reals.rows < 2) throw Error(fmt::format("a linear probe needs 2 real images or more, there are {}", reals.rows));
  const int64_t half = reals.rows / 2;
  std::vector<double> found;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    std::mt19937_64 random(seed + uint64_t(repeat));
    const Matrix shuffled = drawn_rows(reals, reals.rows, random), made = fakes(repeat);
    const Logistic line = logistic_regression(shuffled.slice(0, half), made.slice(0, half), kInverseStrength);
    found.push_back(accuracy(line, shuffled.slice(half, reals.rows), made.slice(half, made.rows)));
  }
  Probe probe{.accuracy = std::accumulate(found.begin(), found.end(), 0.0) / repeats};
  for (const double a : found)
    probe.deviation += (a - probe.accuracy) * (a - probe.accuracy) / std::max(1, repeats - 1);
  probe.deviation = std::sqrt(probe.deviation);
  return probe;
}

}  // namespace firn
