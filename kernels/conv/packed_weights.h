// Weights from the form in which parameters keep them to the one that tensor cores want, and gradients back.
#pragma once
#include "kernels/conv/conv.h"

namespace firn::kernels {

// y = gain x in another type; y [A,taps,B], x the same, or [B,taps,A] when transposed.
template <class To, class From>
struct RepackWeights {
  static constexpr const char* name = "repack_weights";
  To* y;
  const From* x;
  int64_t A, B;
  int taps;
  bool transposed;
  float gain;
  FIRN_DEVICE int64_t blocks() const { return A * taps; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

// [O,KH,KW,I] in p.type (f32 or bf16) with the gain in them, made at the first use after the weights have changed.
// See also RoundedCopy.
std::shared_ptr<void> packed_weights(const Stream&, const ConvProblem& p, const void* w, WeightCache&);

// Makes the copy one of `count` weights w, which are of this version.
void refresh(const Stream&, RoundedCopy& copy, const void* w, int64_t count, uint64_t version);

}  // namespace firn::kernels
