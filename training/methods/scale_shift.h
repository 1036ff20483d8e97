// Scale and shift (Noguchi & Harada 2019, arXiv 1904.01774): of G, only what scales and shifts normalised features
// trains: batch norm's gamma and beta, the affine layers of styles.
#pragma once
#include "training/methods/method.h"

namespace firn {

Method scale_shift_method();

}  // namespace firn
