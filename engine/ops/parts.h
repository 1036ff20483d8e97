// Two-stage sums: how many parts a sum is cut into depends on its shape only, so that the order of additions is fixed.
#pragma once
#include "engine/tensor.h"

namespace firn::ops {

int64_t parts_for(int64_t outer, int64_t reduced, int64_t inner);
// [A,parts,B] -> [A,B]
Tensor add_parts(const Tensor& y, int64_t A, int64_t parts, int64_t B);

}  // namespace firn::ops
