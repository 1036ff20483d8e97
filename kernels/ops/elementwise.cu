#include "kernels/ops/elementwise.h"

#include <cmath>

#include "kernels/core/columns.h"

namespace firn::kernels {

// The share of the normal distribution that lies below v.
template <class A>
FIRN_DEVICE A below(A v) {
  return A(0.5) * (A(1) + std::erf(v * A(0.7071067811865476)));
}

template <class T>
template <class Team>
FIRN_DEVICE void Unary<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int64_t first = t.block() * kChunk;
  const int64_t last = first + kChunk < count ? first + kChunk : count;
  const auto map = [&](auto f) {
    for_span(t, first, last, has_vectors(0, x, y), [&](int64_t i, auto width) {
      const auto u = read<width>(x + i);
      write<width>(y + i, [&](int v) { return T(f(A(u[v]))); });
    });
  };
  const A scale = a, shift = b;
  switch (op) {
    case UnaryOp::affine:
      return map([=](A v) { return scale * v + shift; });
    case UnaryOp::square:
      return map([](A v) { return v * v; });
    case UnaryOp::sqrt:
      return map([](A v) { return std::sqrt(v); });
    case UnaryOp::rsqrt:
      return map([](A v) { return A(1) / std::sqrt(v); });
    case UnaryOp::reciprocal:
      return map([](A v) { return A(1) / v; });
    case UnaryOp::softplus:
      return map([](A v) { return (v > 0 ? v : A(0)) + std::log1p(std::exp(-std::fabs(v))); });
    case UnaryOp::sigmoid:
      return map([](A v) { return A(1) / (A(1) + std::exp(-v)); });
    case UnaryOp::tanh:
      return map([](A v) { return std::tanh(v); });
    case UnaryOp::exp:
      return map([](A v) { return std::exp(v); });
    case UnaryOp::log:
      return map([](A v) { return std::log(v); });
    case UnaryOp::sign:
      return map([](A v) { return A((v > 0) - (v < 0)); });
    case UnaryOp::abs:
      return map([](A v) { return std::fabs(v); });
    case UnaryOp::gelu:
      return map([](A v) { return v * below(v); });
    case UnaryOp::gelu_slope:
      return map([](A v) { return below(v) + v * A(0.3989422804014327) * std::exp(A(-0.5) * v * v); });
    case UnaryOp::silu:
      return map([=](A v) { return v / (A(1) + std::exp(-scale * v)); });
    case UnaryOp::silu_slope:
      return map([=](A v) {
        const A s = A(1) / (A(1) + std::exp(-scale * v));
        return s + scale * v * s * (A(1) - s);
      });
  }
}

template <class T>
template <class Team>
FIRN_DEVICE void Binary<T>::operator()(Team t) const {
  using A = acc_t<T>;
  const int last = rank - 1;
  int64_t rest = t.block() / chunks();
  const int64_t first = t.block() % chunks() * kChunk;
  const int64_t n = first + kChunk < dims[last] ? kChunk : dims[last] - first;
  int64_t ai = first * a_strides[last], bi = first * b_strides[last], yi = first, y_stride = dims[last];
  for (int d = last - 1; d >= 0; --d) {
    const int64_t j = rest % dims[d];
    rest /= dims[d];
    ai += j * a_strides[d];
    bi += j * b_strides[d];
    yi += j * y_stride;
    y_stride *= dims[d];
  }
  const T *pa = a + ai, *pb = b + bi;
  T* py = y + yi;
  const int64_t sa = a_strides[last], sb = b_strides[last];
  const auto loop = [&](auto f) {
    // Separate loops keep the strides compile-time constants, which is what lets them vectorise.
    if (sa == 1 && sb == 1) {
      for_span(t, 0, n, has_vectors(0, pa, pb, py), [&](int64_t i, auto width) {
        const auto u = read<width>(pa + i), v = read<width>(pb + i);
        write<width>(py + i, [&](int k) { return T(f(A(u[k]), A(v[k]))); });
      });
    } else if (sa == 1 && sb == 0) {
      const A v = A(*pb);
      for_span(t, 0, n, has_vectors(0, pa, py), [&](int64_t i, auto width) {
        const auto u = read<width>(pa + i);
        write<width>(py + i, [&](int k) { return T(f(A(u[k]), v)); });
      });
    } else {
      for (int64_t i = t.rank(); i < n; i += t.size()) py[i] = T(f(A(pa[i * sa]), A(pb[i * sb])));
    }
  };
  switch (op) {
    case BinaryOp::add:
      return loop([](A u, A v) { return u + v; });
    case BinaryOp::sub:
      return loop([](A u, A v) { return u - v; });
    case BinaryOp::mul:
      return loop([](A u, A v) { return u * v; });
    case BinaryOp::div:
      return loop([](A u, A v) { return u / v; });
  }
}

template <class To, class From>
template <class Team>
FIRN_DEVICE void Cast<To, From>::operator()(Team t) const {
  const int64_t first = t.block() * kChunk;
  const int64_t last = first + kChunk < count ? first + kChunk : count;
  for_span(t, first, last, has_vectors(0, x, y), [&](int64_t i, auto width) {
    const auto u = read<width>(x + i);
    write<width>(y + i, [&](int v) { return To(acc_t<To>(acc_t<From>(u[v]))); });
  });
}

template <class T>
template <class Team>
FIRN_DEVICE void Fill<T>::operator()(Team t) const {
  const int64_t first = t.block() * kChunk;
  const int64_t last = first + kChunk < count ? first + kChunk : count;
  for_span(t, first, last, has_vectors(0, y),
           [&](int64_t i, auto width) { write<width>(y + i, [&](int) { return T(value); }); });
}

template <class T>
template <class Team>
FIRN_DEVICE void StridedCopy<T>::operator()(Team t) const {
  const int last = rank - 1;
  int64_t rest = t.block() / chunks();
  const int64_t first = t.block() % chunks() * kChunk;
  const int64_t n = first + kChunk < dims[last] ? kChunk : dims[last] - first;
  int64_t xi = first * x_strides[last], yi = first * y_strides[last];
  for (int d = last - 1; d >= 0; --d) {
    const int64_t j = rest % dims[d];
    rest /= dims[d];
    xi += j * x_strides[d];
    yi += j * y_strides[d];
  }
  const T* px = x + xi;
  T* py = y + yi;
  const int64_t sx = x_strides[last], sy = y_strides[last];
  if (sx == 1 && sy == 1) {
    for_span(t, 0, n, has_vectors(0, px, py), [&](int64_t i, auto width) {
      const auto u = read<width>(px + i);
      write<width>(py + i, [&](int v) { return u[v]; });
    });
  } else {
    for (int64_t i = t.rank(); i < n; i += t.size()) py[i * sy] = px[i * sx];
  }
}

}  // namespace firn::kernels

using firn::bf16;
using namespace firn::kernels;
FIRN_KERNEL(Unary<float>);
FIRN_KERNEL(Unary<bf16>);
FIRN_KERNEL(Unary<double>);
FIRN_KERNEL(Binary<float>);
FIRN_KERNEL(Binary<bf16>);
FIRN_KERNEL(Binary<double>);
FIRN_KERNEL(Cast<float, bf16>);
FIRN_KERNEL(Cast<bf16, float>);
FIRN_KERNEL(Cast<double, float>);
FIRN_KERNEL(Cast<float, double>);
FIRN_KERNEL(Cast<double, bf16>);
FIRN_KERNEL(Cast<bf16, double>);
FIRN_KERNEL(Fill<float>);
FIRN_KERNEL(Fill<bf16>);
FIRN_KERNEL(Fill<double>);
FIRN_KERNEL(Fill<int32_t>);
FIRN_KERNEL(Fill<int64_t>);
FIRN_KERNEL(StridedCopy<float>);
FIRN_KERNEL(StridedCopy<bf16>);
FIRN_KERNEL(StridedCopy<double>);
FIRN_KERNEL(StridedCopy<int32_t>);
FIRN_KERNEL(StridedCopy<int64_t>);
