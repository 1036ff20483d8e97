#include "kernels/ops/minibatch_stddev.h"

#include <cmath>

#include "kernels/core/columns.h"

namespace firn::kernels {

// The samples of one group and the channels of one feature.
struct StddevPlace {
  int G, P, C, share, f, first, step;  // samples, pixels, channels, those of the feature; the first sample, to the next
  FIRN_DEVICE StddevPlace(const StddevGroups& n, int64_t block)
      : G(int(n.G)), P(int(n.P)), C(int(n.C)), share(C / int(n.F)), step(int(n.M)) {
    const int group = int(block) / int(n.F), s = group / step;
    f = int(block) - group * int(n.F);
    first = s * G * step + group - s * step;
  }
};

namespace {
// For `width` channels of a pixel: their means over the group, and the deviations. x points at the first sample's.
template <int width, class T, class A>
FIRN_DEVICE void moments(const T* x, int G, int stride, A (&mean)[width], A (&deviation)[width]) {
  const A share = 1 / A(G);
  for (int v = 0; v < width; ++v) mean[v] = deviation[v] = 0;
  for (int g = 0; g < G; ++g)
    for (int v = 0; v < width; ++v) mean[v] += A(x[g * stride + v]);
  for (int v = 0; v < width; ++v) mean[v] *= share;
  for (int g = 0; g < G; ++g)
    for (int v = 0; v < width; ++v) {
      const A d = A(x[g * stride + v]) - mean[v];
      deviation[v] += d * d;
    }
  for (int v = 0; v < width; ++v) deviation[v] = std::sqrt(deviation[v] * share + A(1e-8));
}
}  // namespace

template <class T>
template <class Team>
FIRN_DEVICE void MinibatchStddev<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const StddevPlace at(n, t.block());
  const Columns columns(t, at.share, false);  // rows of y are C + F long, so they are not aligned
  const int P = at.P, C = at.C, stride = at.step * P * C, out = C + int(n.F);
  const T* const xs = x + int64_t{at.first} * P * C + at.f * at.share;
  T* const ys = y + int64_t{at.first} * P * out;
  const A per_place = 1 / A(P * at.share);
  A sum = 0;
  columns.each([&](auto c, auto width) {
    A sums[width] = {};
    columns.rows(0, P, [&](int64_t row) {
      const int p = int(row);
      A mean[width], deviation[width];
      moments<width>(xs + p * C + c, at.G, stride, mean, deviation);
      for (int v = 0; v < width; ++v) sums[v] += deviation[v];
      for (int g = 0; g < at.G; ++g)
        for (int v = 0; v < width; ++v)
          ys[(g * at.step * P + p) * out + at.f * at.share + int(c) + v] = xs[g * stride + p * C + int(c) + v];
    });
    for (int v = 0; v < width; ++v) sum += sums[v];
  });
  const T feature = T(t.sum(sum) * per_place);
  const int places = at.G * P;
  for (int i = t.rank(); i < places; i += t.size()) ys[(i / P * at.step * P + i % P) * out + C + at.f] = feature;
}

template <class T>
template <class Team>
FIRN_DEVICE void MinibatchStddevGrad<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const StddevPlace at(n, t.block());
  const Columns columns(t, at.share, false);
  const int P = at.P, C = at.C, stride = at.step * P * C, out = C + int(n.F);
  const T* const xs = x + int64_t{at.first} * P * C + at.f * at.share;
  const T* const gys = gy + int64_t{at.first} * P * out;
  T* const gxs = gx + int64_t{at.first} * P * C + at.f * at.share;
  const int places = at.G * P;
  A sum = 0;
  for (int i = t.rank(); i < places; i += t.size()) sum += A(gys[(i / P * at.step * P + i % P) * out + C + at.f]);
  const A k = t.sum(sum) / A(P * at.share * at.G);
  columns.each([&](auto c, auto width) {
    columns.rows(0, P, [&](int64_t row) {
      const int p = int(row);
      A mean[width], deviation[width];
      moments<width>(xs + p * C + c, at.G, stride, mean, deviation);
      for (int v = 0; v < width; ++v) deviation[v] = k / deviation[v];
      for (int g = 0; g < at.G; ++g)
        for (int v = 0; v < width; ++v) {
          const int from = g * stride + p * C + int(c) + v;
          gxs[from] = T(A(gys[(g * at.step * P + p) * out + at.f * at.share + int(c) + v]) +
                        deviation[v] * (A(xs[from]) - mean[v]));
        }
    });
  });
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(MinibatchStddev<float>);
FIRN_KERNEL(MinibatchStddev<bf16>);
FIRN_KERNEL(MinibatchStddev<double>);
FIRN_KERNEL(MinibatchStddevGrad<float>);
FIRN_KERNEL(MinibatchStddevGrad<bf16>);
FIRN_KERNEL(MinibatchStddevGrad<double>);
