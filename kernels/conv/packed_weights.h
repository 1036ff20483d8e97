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

// Weights of p with their gain, or gradients on their way back: each group's [A,taps,B] from what is the same or, where
// p is swapped, [B,taps,A].
template <class To, class From>
void repack_weights(const Stream& stream, const ConvProblem& p, To* y, const From* x, int64_t A, int64_t B,
                    double gain) {
  const int64_t apart = p.swapped ? p.groups : 1, rows = A * p.groups / apart, size = p.weights() / apart;
  for (int64_t g = 0; g < apart; ++g)
    run(stream,
        RepackWeights<To, From>{y + g * size, x + g * size, rows, B, p.KH * p.KW, p.swapped, static_cast<float>(gain)});
}

}  // namespace firn::kernels
