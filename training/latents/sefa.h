// Directions in which styles change images most, found in the weights alone (SeFa: Shen & Zhou 2021, arXiv 2007.06600).
#pragma once
#include <vector>

#include "metrics/numbers/matrix.h"
#include "models/network.h"

namespace firn {

// The eigenvectors of A^T A, A being the weights that these of the ws are read by, one below the other: rows [..,w_dim]
// of length 1, those that change most first. ConfigError for a number that no style has.
Eigen sefa(const StyleGenerator& g, const std::vector<int64_t>& layers);

}  // namespace firn
