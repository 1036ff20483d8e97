#include "kernels/adam.h"

#include <cmath>

#include "kernels/team.h"

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
  const int64_t first = (t.block() - e.first_block) * chunk;
  const int n = int(e.count - first < chunk ? e.count - first : chunk);
  const T step = rates->lr / rates->correction1, root = T(1) / std::sqrt(rates->correction2);
  const T b1 = beta1, b2 = beta2, eps_ = eps;
  int64_t bad = 0;
  T *p = e.p + first, *m = e.m ? e.m + first : nullptr, *v = e.v + first;
  const T* grad = e.g + first;
  // Non-finite values are counted first: a block without any, the usual one, then needs no repair.
  for (int i = t.rank(); i < n; i += t.size()) {
    const T g = grad[i];
    bad += !(std::fabs(g) <= T(3.4e38));
  }
  const bool clean = bad == 0;
  const auto repaired_gradient = [&](T g) {
    return clean ? g : g != g ? T(0) : g > T(3.4e38) ? T(1e5) : g < T(-3.4e38) ? T(-1e5) : g;
  };
  const T decay = rates->average_decay;
  T* const average = decay == 1 || !e.average ? nullptr : e.average + first;
  bf16* const rounded = e.rounded ? e.rounded + first : nullptr;
  const float gain = e.gain;
  const auto update = [&](auto momentum, auto averaged, auto copied) {
    for (int i = t.rank(); i < n; i += t.size()) {
      const T g = repaired_gradient(grad[i]);
      const T vi = b2 * v[i] + (1 - b2) * g * g;
      v[i] = vi;
      T mi = g;
      if (momentum) m[i] = mi = b1 * m[i] + (1 - b1) * g;
      const T pi = p[i] - step * mi / (std::sqrt(vi) * root + eps_);
      p[i] = pi;
      if (averaged) average[i] = pi + decay * (average[i] - pi);
      if (copied) rounded[i] = bf16(gain * float(pi));
    }
  };
  const auto yes = std::true_type{};
  const auto no = std::false_type{};
  // What is not wanted is not read either: beta1 = 0 needs no first moment.
  const auto copies = [&](auto momentum, auto averaged) {
    rounded ? update(momentum, averaged, yes) : update(momentum, averaged, no);
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
