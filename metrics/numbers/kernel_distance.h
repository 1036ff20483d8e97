// Kernel distance (KID, Binkowski et al. 2018, arXiv 1801.01401).
#pragma once
#include "metrics/numbers/matrix.h"

namespace firn {

struct KernelDistance {
  int subsets = 100, size = 1000;  // of images drawn without replacement; at most as many as there are
  uint64_t seed = 0;
};
struct MeanAndDeviation {
  double mean = 0, deviation = 0;
};
// The unbiased squared maximum mean discrepancy for the kernel (a.b / columns + 1)^3, over the subsets. Error for fewer
// than 2 images.
MeanAndDeviation kernel_distance(const Matrix& a, const Matrix& b, KernelDistance options = {});
double squared_discrepancy(const Matrix& a, const Matrix& b);  // of two subsets of one size

}  // namespace firn
