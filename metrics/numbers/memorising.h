// Whether a generator gives back what it was trained on.
#pragma once
#include "metrics/numbers/matrix.h"

namespace firn {

// Of each row of `a` its nearest row of `b`; the lowest number where several are as near.
struct Nearest {
  std::vector<int64_t> row;
  std::vector<double> square;  // of the distance
};
Nearest nearest_rows(const Matrix& a, const Matrix& b);

struct Memorising {
  double share = 0;     // of samples nearer to a training image than that is to its own nearest training image
  double expected = 0;  // the same share of real images that were left out
  bool flagged = false;
  Nearest nearest;  // training images, of each sample
};
// `left_out`: reals that were not trained on. Without any (no rows) the expectation comes from the training images
// themselves, one half against the other. The share does not depend on the number of images, so halves do. Flagged
// where the share is beyond the expectation by a tenth and by four standard deviations. Error for fewer than 4 training
// images, or no samples.
Memorising memorising(const Matrix& train, const Matrix& samples, const Matrix& left_out = {});

}  // namespace firn
