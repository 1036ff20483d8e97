#include "kernels/ops/control.h"

#include <cmath>

#include "kernels/core/team.h"

namespace firn::kernels {

namespace {
template <class T>
FIRN_DEVICE bool is_finite(T v) {
  return v - v == 0;
}
}  // namespace

template <class Team>
FIRN_DEVICE void SetWords::operator()(Team t) const {
  for (int i = t.rank(); i < int(count); i += t.size()) to[i] = words[i];
}

template <class T>
template <class Team>
FIRN_DEVICE void CopyIfFinite<T>::operator()(Team t) const {
  if (t.rank() == 0 && is_finite(x[0])) y[0] = x[0];
}

template <class T>
template <class Team>
FIRN_DEVICE void AddToStat<T>::operator()(Team t) const {
  if (t.rank() != 0) return;
  const double v = double(value[0]);
  if (is_finite(v)) {
    stat->finite += 1;
    stat->sum += v;
    stat->squares += v * v;
  } else {
    stat->not_finite += 1;
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void OneHot<T>::operator()(Team t) const {
  const int64_t first = t.block() * chunk, last = first + chunk < N * classes ? first + chunk : N * classes;
  for (int64_t i = first + t.rank(); i < last; i += t.size())
    y[i] = T(int(i) % int(classes) == labels[int(i) / int(classes)]);
}

template <class T>
template <class Team>
FIRN_DEVICE void DecodePixels<T>::operator()(Team t) const {
  const int n = int(t.block()) / chunks(), first = (int(t.block()) - n * chunks()) * chunk;
  const int last = first + chunk < area ? first + chunk : area;
  const int number = items ? items[n] : n, item = number < 0 ? 0 : number < 2 * stored ? number : 2 * stored - 1;
  const bool mirrored = item >= stored;
  const uint8_t* from = pixels + int64_t(mirrored ? item - stored : item) * area * channels;
  T* to = y + int64_t(n) * area * channels;
  const int step = t.size() % width;
  int column = (first + t.rank()) % width;
  for (int p = first + t.rank(); p < last; p += t.size()) {
    const int source = mirrored ? p + width - 1 - 2 * column : p;
    for (int c = 0; c < channels; ++c) to[p * channels + c] = T(from[source * channels + c]) / T(127.5) - T(1);
    column += step;
    if (column >= width) column -= width;
  }
}

template <class Team>
FIRN_DEVICE void CopyRows::operator()(Team t) const {
  const int n = int(t.block()) / chunks(), first = (int(t.block()) - n * chunks()) * chunk;
  const int last = first + chunk < words ? first + chunk : words;
  const int64_t target = to_rows ? to_rows[n] : n, source = from_rows ? from_rows[n] : n;
  if (target < 0 || target >= to_count || source < 0 || source >= from_count) return;
  uint32_t* y = to + target * words;
  const uint32_t* x = from + source * words;
  for (int i = first + t.rank(); i < last; i += t.size()) y[i] = x[i];
}

}  // namespace firn::kernels

using namespace firn::kernels;
FIRN_KERNEL(SetWords);
FIRN_KERNEL(CopyIfFinite<float>);
FIRN_KERNEL(CopyIfFinite<double>);
FIRN_KERNEL(AddToStat<float>);
FIRN_KERNEL(AddToStat<double>);
FIRN_KERNEL(OneHot<float>);
FIRN_KERNEL(OneHot<double>);
FIRN_KERNEL(DecodePixels<float>);
FIRN_KERNEL(DecodePixels<double>);
FIRN_KERNEL(CopyRows);
