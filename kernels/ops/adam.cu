#include "kernels/ops/adam.h"

#include <cmath>

#include "kernels/core/columns.h"

namespace firn::kernels {

namespace {
// The last tensor whose first_block is not past `block`.
template <class Entry>
FIRN_DEVICE const Entry& tensor_of(const Entry* tensors, int n, int64_t block) {
  int lo = 0, hi = n - 1;
  while (lo < hi) {
    const int mid = (lo + hi + 1) / 2;
    if (tensors[mid].first_block <= block) {
      lo = mid;
    } else {
      hi = mid - 1;
    }
  }
  return tensors[lo];
}
}  // namespace

template <class T>
template <class Team>
FIRN_DEVICE void Adam<T>::operator()(Team t) const {
  const AdamTensor<T>& e = tensor_of(tensors, tensor_count, t.block());
  if constexpr (Team::vector == 1 && sizeof(T) == 4) {
    if (has_vectors(e.count, e.p, e.g, e.m, e.v, e.average, e.rounded)) return update<4>(t, e);
  }
  update<1>(t, e);
}

template <class T>
template <int width, class Team>
FIRN_DEVICE void Adam<T>::update(Team t, const AdamTensor<T>& e) const {
  const int64_t first = (t.block() - e.first_block) * chunk;
  const int n = int(e.count - first < chunk ? e.count - first : chunk);
  const T step = e.lr_share * rates->lr / rates->correction1, root = T(1) / std::sqrt(rates->correction2);
  const T b1 = beta1, b2 = beta2, eps_ = eps;
  int64_t bad = 0;
  T *p = e.p + first, *m = e.m ? e.m + first : nullptr, *v = e.v + first;
  Kept<T, width, chunk> gradients(t, e.g + first, n);
  // Non-finite values are counted first: a block without any, the usual one, then needs no repair.
  gradients.each([&](int, const auto& g) {
    for (int k = 0; k < width; ++k) bad += !(std::fabs(g[k]) <= T(3.4e38));
  });
  const bool clean = bad == 0;
  const auto repaired_gradient = [&](T g) {
    return clean ? g : g != g ? T(0) : g > T(3.4e38) ? T(1e5) : g < T(-3.4e38) ? T(-1e5) : g;
  };
  const T decay = rates->average_decay;
  T* const average = decay == 1 || !e.average ? nullptr : e.average + first;
  bf16* const rounded = e.rounded ? e.rounded + first : nullptr;
  const float gain = e.gain;
  const auto update_all = [&](auto momentum, auto averaged, auto copied) {
    gradients.each([&](int i, const auto& g) {
      const auto& old_p = read<width>(p + i);
      const auto& old_v = read<width>(v + i);
      T new_p[width], new_m[width], new_v[width];
      [[maybe_unused]] T new_average[width];
      for (int k = 0; k < width; ++k) {
        new_m[k] = repaired_gradient(g[k]);
        new_v[k] = b2 * old_v[k] + (1 - b2) * new_m[k] * new_m[k];
      }
      if constexpr (momentum) {
        const auto& old_m = read<width>(m + i);
        for (int k = 0; k < width; ++k) new_m[k] = b1 * old_m[k] + (1 - b1) * new_m[k];
      }
      for (int k = 0; k < width; ++k) new_p[k] = old_p[k] - step * new_m[k] / (std::sqrt(new_v[k]) * root + eps_);
      if constexpr (averaged) {
        const auto& old = read<width>(average + i);
        for (int k = 0; k < width; ++k) new_average[k] = new_p[k] + decay * (old[k] - new_p[k]);
      }
      // Stores last: a load behind one would wait for it.
      write<width>(v + i, [&](int k) { return new_v[k]; });
      if constexpr (momentum) write<width>(m + i, [&](int k) { return new_m[k]; });
      write<width>(p + i, [&](int k) { return new_p[k]; });
      if constexpr (averaged) write<width>(average + i, [&](int k) { return new_average[k]; });
      if constexpr (copied) write<width>(rounded + i, [&](int k) { return bf16(gain * float(new_p[k])); });
    });
  };
  const auto yes = std::true_type{};
  const auto no = std::false_type{};
  // What is not wanted is not read either: beta1 = 0 needs no first moment.
  const auto copies = [&](auto momentum, auto averaged) {
    rounded ? update_all(momentum, averaged, yes) : update_all(momentum, averaged, no);
  };
  const auto averages = [&](auto momentum) { average ? copies(momentum, yes) : copies(momentum, no); };
  b1 == 0 ? averages(no) : averages(yes);
  bad = t.sum(bad);
  if (t.rank() == 0) repaired[t.block()] += bad;
}

template <class T>
template <class Team>
FIRN_DEVICE void Lerp<T>::operator()(Team t) const {
  const LerpTensor<T>& e = tensor_of(tensors, tensor_count, t.block());
  const int64_t first = (t.block() - e.first_block) * chunk;
  const int64_t last = first + chunk < e.count ? first + chunk : e.count;
  const T beta = e.beta;
  if (beta == 0) {  // also where the old value is not finite
    for (int64_t i = first + t.rank(); i < last; i += t.size()) e.y[i] = e.x[i];
  } else {
    for (int64_t i = first + t.rank(); i < last; i += t.size()) e.y[i] = e.x[i] + beta * (e.y[i] - e.x[i]);
  }
}

}  // namespace firn::kernels

using namespace firn::kernels;
FIRN_KERNEL(Adam<float>);
FIRN_KERNEL(Adam<double>);
FIRN_KERNEL(Lerp<float>);
FIRN_KERNEL(Lerp<double>);
