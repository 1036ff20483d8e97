// How a sum is cut into parts.
#include "kernels/ops/reduce.h"

#include <algorithm>

#include "kernels/device/memory.h"

namespace firn::kernels {

int64_t parts_for(const Stream& stream, int64_t outer, int64_t reduced, int64_t inner) {
  // A GPU has room for thousands of blocks, a processor for as many as it has cores. On a GPU the parts are summed in
  // the same way, so there must be far fewer of them.
  const int64_t most = stream.is_cuda ? reduced / 16 : std::min(64 / std::max<int64_t>(outer, 1), reduced);
  return std::clamp<int64_t>(reduced * inner / 16384, 1, std::max<int64_t>(most, 1));
}

template <class T>
void sum_middle(const Stream& stream, acc_t<T>* y, const T* x, int64_t A, int64_t R, int64_t B) {
  const int64_t parts = parts_for(stream, A, R, B);
  if (parts == 1) return run(stream, SumMiddle<T>{y, x, A, R, B, 1});
  const Scratch partial(stream, sizeof(acc_t<T>) * static_cast<size_t>(A * parts * B));
  auto* const sums = static_cast<acc_t<T>*>(partial.data());
  run(stream, SumMiddle<T>{sums, x, A, R, B, parts});
  add_parts(stream, y, sums, A, parts, B);
}

template <class A>
void add_parts(const Stream& stream, A* y, const A* parts, int64_t outer, int64_t count, int64_t inner) {
  if (stream.is_cuda) return sum_middle(stream, y, parts, outer, count, inner);
  run(stream, SumMiddle<A>{y, parts, outer, count, inner, 1});
}

template void sum_middle(const Stream&, float*, const float*, int64_t, int64_t, int64_t);
template void sum_middle(const Stream&, float*, const bf16*, int64_t, int64_t, int64_t);
template void sum_middle(const Stream&, double*, const double*, int64_t, int64_t, int64_t);
template void add_parts(const Stream&, float*, const float*, int64_t, int64_t, int64_t);
template void add_parts(const Stream&, double*, const double*, int64_t, int64_t, int64_t);

}  // namespace firn::kernels
