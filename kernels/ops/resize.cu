#include "kernels/ops/resize.h"

#include <cmath>

#include "kernels/core/columns.h"

namespace firn::kernels {

template <class A>
FIRN_DEVICE A keys(A x) {
  x = std::fabs(x);
  const A near = (A(1.25) * x - A(2.25)) * x * x + A(1), far = ((A(-0.75) * x + A(3.75)) * x - A(6)) * x + A(3);
  return x < 1 ? near : x < 2 ? far : A(0);
}

template <class A>
FIRN_DEVICE A weight_at(ResizeBy by, A distance) {
  if (by == ResizeBy::bicubic) return keys(distance);
  const A near = A(1) - std::fabs(distance);
  return near > 0 ? near : A(0);
}

FIRN_DEVICE inline int inside(int i, int size) { return i < 0 ? 0 : i < size ? i : size - 1; }

// The pixel at or before the source of target j, and how far behind it that source is.
template <class A>
struct Source {
  int first;
  A behind;
  FIRN_DEVICE Source(int j, double step, double centre) {
    const double at = (j + centre) * step - centre, whole = std::floor(at);
    first = int(whole);
    behind = A(at - whole);
  }
};

// body(i, m(j,i)) for each pixel i that target j is made of.
template <class A, class K, class Body>
FIRN_DEVICE void each_source(const K& k, int j, Body body) {
  if (k.by == ResizeBy::area) {
    const int first = j * k.from / k.to, last = ((j + 1) * k.from + k.to - 1) / k.to;
    const A share = A(last - first == k.whole() ? k.share : k.share_more);
    for (int i = first; i < last; ++i) body(i, share);
    return;
  }
  const Source<A> s(j, k.step, k.centre());
  for (int d = 1 - k.reach(); d <= k.reach(); ++d) body(inside(s.first + d, k.from), weight_at(k.by, A(d) - s.behind));
}

// body(j, m(j,i)) for each target j that pixel i is a part of, and perhaps with 0 for some more.
template <class A, class K, class Body>
FIRN_DEVICE void each_target(const K& k, int i, Body body) {
  if (k.by == ResizeBy::area) {
    for (int j = i * k.to / k.from, last = ((i + 1) * k.to - 1) / k.from; j <= last; ++j) {
      const int first = j * k.from / k.to, end = ((j + 1) * k.from + k.to - 1) / k.to;
      body(j, A(end - first == k.whole() ? k.share : k.share_more));
    }
    return;
  }
  const auto target = [&](int at) { return (at + k.centre()) * k.per_step - k.centre(); };
  const int first = i == 0 ? 0 : inside(int(std::floor(target(i - k.reach()))), k.to);
  const int last = i == k.from - 1 ? k.to - 1 : inside(int(std::ceil(target(i + k.reach()))), k.to);
  for (int j = first; j <= last; ++j) {
    const Source<A> s(j, k.step, k.centre());
    A weight = 0;
    for (int d = 1 - k.reach(); d <= k.reach(); ++d)
      weight += inside(s.first + d, k.from) == i ? weight_at(k.by, A(d) - s.behind) : A(0);
    body(j, weight);
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void ResizeAxis<T>::operator()(Team t) const {
  using Acc = acc_t<T>;
  const int image = int(t.block()) / blocks_per_image();  // in 32 bits, as the other divisions
  const int first = int(t.block()) % blocks_per_image() * lines_per_block();
  const int last = first + lines_per_block() < lines() ? first + lines_per_block() : lines();
  const T* const x = in + int64_t(image) * (transposed ? to : from) * B;
  T* const y = out + int64_t(image) * lines() * B;
  const Columns columns(t, B, false);  // the registers of vectors would have to be saved around divisions
  columns.each([&](auto b, auto width) {
    columns.rows(first, last, [&](int64_t line) {
      Acc sum[width] = {};
      const auto add = [&](int i, Acc weight) {
        const auto u = read<width>(x + i * B + b);
        for (int v = 0; v < width; ++v) sum[v] += weight * Acc(u[v]);
      };
      if (transposed)
        each_target<Acc>(*this, int(line), add);
      else
        each_source<Acc>(*this, int(line), add);
      write<width>(y + line * B + b, [&](int v) { return T(sum[v]); });
    });
  });
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(ResizeAxis<float>);
FIRN_KERNEL(ResizeAxis<bf16>);
FIRN_KERNEL(ResizeAxis<double>);
