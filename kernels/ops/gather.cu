#include "kernels/ops/gather.h"

#include <algorithm>
#include <cstring>
#include <vector>

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

#if defined(__AVX512BW__) && !defined(__clang__)
// Picks of each row by vectors, where the list ascends: a vector moves what is wanted of it to its front, and the next
// one writes over what is behind. Rows whose last vector would reach beyond `last` are left; returns the first of them.
template <class T>
int64_t pick_by_vectors(const PickChannels<T>& k, int64_t first, int64_t last) {
  constexpr int64_t lanes = 64 / sizeof(T);
  using Bits = std::conditional_t<sizeof(T) == 2, int16_t, std::conditional_t<sizeof(T) == 4, int32_t, int64_t>>;
  typedef Bits Vector __attribute__((vector_size(64)));
  struct Move {
    int64_t from, to;
    Vector order;
  };
  if (k.C % lanes) return first;
  std::vector<Move> moves;
  int64_t picked = 0;
  for (; picked < k.n && k.from[picked] >= 0; ++picked) {
    const int64_t c = k.from[picked];
    if (c >= k.C || (picked > 0 && c <= k.from[picked - 1])) return first;
    if (moves.empty() || moves.back().from != c / lanes * lanes) {
      moves.emplace_back();
      moves.back().from = c / lanes * lanes, moves.back().to = picked;
    }
    moves.back().order[picked - moves.back().to] = Bits(c % lanes);
  }
  for (int64_t j = picked; j < k.n; ++j)
    if (k.from[j] >= 0) return first;
  for (; first < last && (first + 1) * k.n + lanes <= last * k.n; ++first) {
    const T* const x = k.x + first * k.C;
    T* const y = k.y + first * k.n;
    for (const Move& move : moves) {
      Vector v;
      std::memcpy(&v, x + move.from, sizeof v);
      v = __builtin_shuffle(v, move.order);
      std::memcpy(y + move.to, &v, sizeof v);
    }
    std::fill(y + picked, y + k.n, T(0));
  }
  return first;
}
#else
template <class T>
int64_t pick_by_vectors(const PickChannels<T>&, int64_t first, int64_t) {
  return first;
}
#endif

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
    for (int64_t p = pick_by_vectors(*this, first, last); p < last; ++p)
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
