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

// How far training images are from one another, and what is expected of images that are new.
struct Spacing {
  std::vector<double> own;  // of each training image the squared distance to its nearest other one
  double expected = 0;      // share of new images nearer to a training image than that is to its own nearest other one
  int64_t of = 0;           // images that say so
};
// `left_out`: reals that were not trained on. Without any (no rows) the expectation comes from the training images
// themselves, one half against the other. The share does not depend on the number of images, so halves do. Error for
// fewer than 4 training images.
Spacing spacing(const Matrix& train, const Matrix& left_out = {});

struct Memorising {
  double share = 0;     // of samples
  double expected = 0;  // of new images
  bool flagged = false;
  Nearest nearest;  // training images, of each sample
};
// Flagged where the share is beyond the expectation by a tenth and by four standard deviations. Error for no samples.
Memorising memorising(const Matrix& train, const Spacing& spacing, const Matrix& samples);

}  // namespace firn
