#include "kernels/conv/packed_weights.h"

#include "kernels/core/team.h"

namespace firn::kernels {

template <class To, class From>
template <class Team>
FIRN_DEVICE void RepackWeights<To, From>::operator()(Team t) const {
  const int row = static_cast<int>(t.block());
  const int64_t a = row / taps, k = row % taps;
  const From* from = transposed ? x + k * A + a : x + row * B;
  const int64_t stride = transposed ? taps * A : 1;
  To* to = y + row * B;
  for (int64_t b = t.rank(); b < B; b += t.size()) to[b] = To(gain * float(from[b * stride]));
}

}  // namespace firn::kernels

using firn::bf16;
using firn::kernels::RepackWeights;
FIRN_KERNEL(RepackWeights<bf16, float>);
FIRN_KERNEL(RepackWeights<float, float>);
FIRN_KERNEL(RepackWeights<float, bf16>);
