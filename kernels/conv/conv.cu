#include "kernels/conv/conv.h"

#include "kernels/core/team.h"

namespace firn::kernels {

namespace {
// Where weight (o, tap, i) of a group is stored.
FIRN_DEVICE inline int64_t weight_index(const ConvProblem& p, int64_t group, int64_t o, int tap, int64_t i) {
  const int64_t taps = int64_t(p.KH) * p.KW, I = p.group_inputs(), O = p.group_outputs();
  return p.swapped ? ((group * I + i) * taps + tap) * O + o : ((group * O + o) * taps + tap) * I + i;
}
}  // namespace

template <class T>
template <class Team>
FIRN_DEVICE void ConvForward<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t ox = t.block() % p.OW, oy = t.block() / p.OW % p.OH, n = t.block() / (p.OW * p.OH);
  const int64_t I = p.group_inputs(), O = p.group_outputs();
  for (int64_t o = t.rank(); o < p.O; o += t.size()) {
    const int64_t group = o / O;
    A s = 0;
    for (int ky = 0; ky < p.KH; ++ky) {
      const int64_t y = oy * p.stride + ky - p.pad_y;
      if (y < 0 || y >= p.H) continue;
      for (int kx = 0; kx < p.KW; ++kx) {
        const int64_t x = ox * p.stride + kx - p.pad_x;
        if (x < 0 || x >= p.W) continue;
        const T* b = big + ((n * p.H + y) * p.W + x) * p.I + group * I;
        for (int64_t i = 0; i < I; ++i) s += A(b[i]) * w[weight_index(p, group, o - group * O, ky * p.KW + kx, i)];
      }
    }
    small[t.block() * p.O + o] = T(s * A(p.gain));
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void ConvBackwardData<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t x = t.block() % p.W, y = t.block() / p.W % p.H, n = t.block() / (p.W * p.H);
  const int64_t I = p.group_inputs(), O = p.group_outputs();
  for (int64_t i = t.rank(); i < p.I; i += t.size()) {
    const int64_t group = i / I;
    A s = 0;
    for (int ky = 0; ky < p.KH; ++ky) {
      const int64_t v = y + p.pad_y - ky;
      if (v < 0 || v % p.stride || v / p.stride >= p.OH) continue;
      for (int kx = 0; kx < p.KW; ++kx) {
        const int64_t u = x + p.pad_x - kx;
        if (u < 0 || u % p.stride || u / p.stride >= p.OW) continue;
        const T* g = small + ((n * p.OH + v / p.stride) * p.OW + u / p.stride) * p.O + group * O;
        for (int64_t o = 0; o < O; ++o) s += A(g[o]) * w[weight_index(p, group, o, ky * p.KW + kx, i - group * I)];
      }
    }
    big[t.block() * p.I + i] = T(s * A(p.gain));
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void ConvBackwardWeights<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int tap = int(t.block() % (p.KH * p.KW)), ky = tap / p.KW, kx = tap % p.KW;
  const int64_t o = t.block() / (p.KH * p.KW), I = p.group_inputs(), group = o / p.group_outputs();
  for (int64_t i = t.rank(); i < I; i += t.size()) {
    A s = 0;
    for (int64_t n = 0; n < p.N; ++n)
      for (int64_t oy = 0; oy < p.OH; ++oy) {
        const int64_t y = oy * p.stride + ky - p.pad_y;
        if (y < 0 || y >= p.H) continue;
        for (int64_t ox = 0; ox < p.OW; ++ox) {
          const int64_t x = ox * p.stride + kx - p.pad_x;
          if (x < 0 || x >= p.W) continue;
          s += A(small[((n * p.OH + oy) * p.OW + ox) * p.O + o]) *
               A(big[((n * p.H + y) * p.W + x) * p.I + group * I + i]);
        }
      }
    dw[weight_index(p, group, o - group * p.group_outputs(), tap, i)] = s * A(p.gain);
  }
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(ConvForward<float>);
FIRN_KERNEL(ConvForward<bf16>);
FIRN_KERNEL(ConvForward<double>);
FIRN_KERNEL(ConvBackwardData<float>);
FIRN_KERNEL(ConvBackwardData<bf16>);
FIRN_KERNEL(ConvBackwardData<double>);
FIRN_KERNEL(ConvBackwardWeights<float>);
FIRN_KERNEL(ConvBackwardWeights<bf16>);
FIRN_KERNEL(ConvBackwardWeights<double>);
