// Measures by nearest neighbours: precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991), density and
// coverage (Naeem et al. 2020, arXiv 2002.09797).
#pragma once
#include "metrics/numbers/matrix.h"

namespace firn {

// Of each row the squared distance to its k-th nearest other row. Error where there are k or fewer rows.
std::vector<double> squared_radii(const Matrix& a, int k);

// Whether what lies on the border of a ball is inside: NVIDIA's code says yes, prdc no.
enum class Border { inside, outside };

struct Manifolds {
  double precision = 0, recall = 0, density = 0, coverage = 0;
  double f1() const { return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0; }
};
// ShapeError for features of two networks, Error for k or fewer images on either side.
Manifolds compare_manifolds(const Matrix& reals, const Matrix& fakes, int k, Border border = Border::outside);
// `of_reals`: their squared_radii(), for many comparisons.
Manifolds compare_manifolds(const Matrix& reals, const std::vector<double>& of_reals, const Matrix& fakes, int k,
                            Border border = Border::outside);

}  // namespace firn
