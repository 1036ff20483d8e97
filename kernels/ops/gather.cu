#include "kernels/ops/gather.h"

#include "kernels/core/team.h"

namespace firn::kernels {

template <class T>
template <class Team>
FIRN_DEVICE void Gather<T>::operator()(Team t) const {
  const int64_t n = t.block() / chunks(), first = t.block() % chunks() * chunk;
  const int64_t last = first + chunk < C ? first + chunk : C, row = index[n];
  const bool known = row >= 0 && row < R;
  const T* const from = known ? x + row * C : nullptr;
  for (int64_t c = first + t.rank(); c < last; c += t.size()) y[n * C + c] = known ? from[c] : T(0);
}

template <class T>
template <class Team>
FIRN_DEVICE void ScatterAdd<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t r = t.block() / chunks(), first = t.block() % chunks() * chunk;
  const int64_t columns = C - first < chunk ? C - first : chunk;
  for_vectors(t, columns, [&](int64_t i, auto width) {
    A sum[width] = {};
    for (int64_t n = 0; n < N; ++n) {
      if (index[n] != r) continue;
      const T* const from = x + n * C + first + i;
      for (int v = 0; v < width; ++v) sum[v] += A(from[v]);
    }
    T* const to = y + r * C + first + i;
    for (int v = 0; v < width; ++v) to[v] = T(sum[v]);
  });
}

template <class T>
template <class Team>
FIRN_DEVICE void PickChannels<T>::operator()(Team t) const {
  const int64_t first = t.block() * rows_per_block(),
                last = first + rows_per_block() < P ? first + rows_per_block() : P;
  const auto move = [&](int64_t p, int64_t j) {
    const int64_t c = from[j];
    y[p * n + j] = c >= 0 && c < C ? x[p * C + c] : T(0);
  };
  if constexpr (Team::vector > 1) {
    for (int64_t p = first; p < last; ++p)
      for (int64_t j = 0; j < n; ++j) move(p, j);
  } else {
    const int count = int((last - first) * n), columns = int(n);
    for (int i = t.rank(); i < count; i += t.size()) move(first + i / columns, i % columns);
  }
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(Gather<float>);
FIRN_KERNEL(Gather<bf16>);
FIRN_KERNEL(Gather<double>);
FIRN_KERNEL(ScatterAdd<float>);
FIRN_KERNEL(ScatterAdd<bf16>);
FIRN_KERNEL(ScatterAdd<double>);
FIRN_KERNEL(PickChannels<float>);
FIRN_KERNEL(PickChannels<bf16>);
FIRN_KERNEL(PickChannels<double>);
