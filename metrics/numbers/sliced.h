// Sliced Wasserstein distances: points are projected onto random directions, where optimal transport is sorting.
#pragma once
#include "metrics/numbers/matrix.h"

namespace firn {

struct Sliced {
  int directions = 1000;  // uniform on the sphere
  uint64_t seed = 0;
};
// Means, over directions and places, of |sorted a - sorted b| and of its square. Of the larger set as many rows are
// drawn as the smaller has. ShapeError for features of two networks, Error for an empty set.
struct SlicedDistance {
  double mean = 0, mean_square = 0;
};
SlicedDistance sliced_distance(const Matrix& a, const Matrix& b, Sliced options = {});

}  // namespace firn
