#include "kernels/ops/pooling.h"

#include "kernels/core/columns.h"

namespace firn::kernels {

template <class T>
template <class Team>
FIRN_DEVICE void UpsampleNearest<T>::operator()(Team t) const {
  const int64_t row = 2 * W * C;
  const T* const xs = x + t.block() * W * C;
  T* const ys = y + t.block() * 2 * row;
  each_pixel(t, 0, 2 * W, C, has_vectors(C, xs, ys), [&](int64_t w, int64_t c, auto width) {
    const auto u = read<width>(xs + w / 2 * C + c);
    const auto scaled = [&](int v) { return T(gain * acc_t<T>(u[v])); };
    write<width>(ys + w * C + c, scaled);
    write<width>(ys + row + w * C + c, scaled);
  });
}

template <class T>
template <class Team>
FIRN_DEVICE void SumPool<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t row = 2 * W * C;
  const T* const xs = x + t.block() * 2 * row;
  T* const ys = y + t.block() * W * C;
  each_pixel(t, 0, W, C, has_vectors(C, xs, ys), [&](int64_t w, int64_t c, auto width) {
    const int at = int(w) * int(C), from = 2 * at + int(c);  // within two rows
    const auto a = read<width>(xs + from), b = read<width>(xs + from + C), d = read<width>(xs + row + from),
               e = read<width>(xs + row + from + C);
    write<width>(ys + at + c, [&](int v) { return T(gain * ((A(a[v]) + A(b[v])) + (A(d[v]) + A(e[v])))); });
  });
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(UpsampleNearest<float>);
FIRN_KERNEL(UpsampleNearest<bf16>);
FIRN_KERNEL(UpsampleNearest<double>);
FIRN_KERNEL(SumPool<float>);
FIRN_KERNEL(SumPool<bf16>);
FIRN_KERNEL(SumPool<double>);
