// What an op asks of an operand before it reads it.
#pragma once
#include "engine/tensor.h"

namespace firn::ops {

struct Axes {
  int least, most;
  const char* layout;
};
constexpr Axes kImages{4, 4, "[N,H,W,C]"}, kChannels{2, 99, "[N,...,C]"}, kRows{2, 2, "[N,C]"}, kAny{0, 99, ""},
    kWeights{4, 4, "[O,KH,KW,I]"}, kMatrices{2, 3, "[M,K] or [B,M,K]"}, kSamples{1, 99, "[N,...]"};

// ShapeError, which names the op and the operand, unless t has such axes and a type that is computed with.
void require(const char* op, const char* operand, const Tensor& t, const Axes& axes);

}  // namespace firn::ops
