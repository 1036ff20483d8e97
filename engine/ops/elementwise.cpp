// Pointwise functions and casts.
#include "kernels/ops/elementwise.h"

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/broadcast.h"

namespace firn {

namespace {

using kernels::BinaryOp;
using kernels::UnaryOp;

Tensor unary(const Tensor& x, UnaryOp op, double a = 1, double b = 0) {
  Tensor y = x.like();
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(), kernels::Unary<T>{y.mutable_as<T>(), x.as<T>(), x.count(), op, static_cast<acc_t<T>>(a),
                                      static_cast<acc_t<T>>(b)});
  });
  return y;
}

Tensor binary(const char* name, const Tensor& a, const Tensor& b, BinaryOp op) {
  if (a.type() != b.type())
    throw ShapeError(fmt::format("{}: {} and {} differ in type", name, name_of(a.type()), name_of(b.type())));
  Shape dims = ops::broadcast_shape(name, a.shape(), b.shape());
  Tensor y = a.like(dims);
  std::vector<std::vector<int64_t>> strides{ops::broadcast_strides(a.shape(), dims),
                                            ops::broadcast_strides(b.shape(), dims)};
  ops::merge_axes(dims, strides);
  dispatch(a.type(), [&](auto tag) {
    using T = decltype(tag);
    kernels::Binary<T> k{y.mutable_as<T>(), a.as<T>(), b.as<T>(), op, static_cast<int>(dims.size()), {}, {}, {}};
    for (size_t i = 0; i < dims.size(); ++i) {
      k.dims[i] = dims[i];
      k.a_strides[i] = strides[0][i];
      k.b_strides[i] = strides[1][i];
    }
    run(a.stream(), k);
  });
  return y;
}

// The gradient of a broadcast operand, in its own type.
Tensor reduced(const Tensor& g, const Tensor& operand) { return cast(sum_to(g, operand.shape()), operand.type()); }

// Phi(x) + x phi(x)
Tensor gelu_slope(const Tensor& x) {
  return record("gelu_slope", unary(x, UnaryOp::gelu_slope),
                {{x, [x](const Tensor& gy, const Tensor&) {
                    const Tensor s = square(x), density = exp(s * -0.5) * 0.3989422804014327;
                    return mul(gy, mul(density, affine(s, -1, 2)));
                  }}});
}

// s + a x s (1 - s) with s = sigmoid(a x)
Tensor silu_slope(const Tensor& x, double a) {
  return record("silu_slope", unary(x, UnaryOp::silu_slope, a),
                {{x, [x, a](const Tensor& gy, const Tensor&) {
                    const Tensor s = sigmoid(x * a), bend = affine(mul(x, affine(s, -2, 1)), a, 2);
                    return mul(gy, mul(mul(s, affine(s, -a, a)), bend));
                  }}});
}

// A stand-in for an operand whose gradient needs its shape only: keeps no memory alive.
Tensor shape_of(const Tensor& t) { return Tensor::without_storage(t.shape(), t.type(), t.device()); }

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
  return record("add", binary("add", a, b, BinaryOp::add),
                {{a, [a = shape_of(a)](const Tensor& gy, const Tensor&) { return reduced(gy, a); }},
                 {b, [b = shape_of(b)](const Tensor& gy, const Tensor&) { return reduced(gy, b); }}});
}

Tensor sub(const Tensor& a, const Tensor& b) {
  return record("sub", binary("sub", a, b, BinaryOp::sub),
                {{a, [a = shape_of(a)](const Tensor& gy, const Tensor&) { return reduced(gy, a); }},
                 {b, [b = shape_of(b)](const Tensor& gy, const Tensor&) { return reduced(-gy, b); }}});
}

Tensor mul(const Tensor& a, const Tensor& b) {
  return record("mul", binary("mul", a, b, BinaryOp::mul),
                {{a, [b, a = shape_of(a)](const Tensor& gy, const Tensor&) { return reduced(mul(gy, b), a); }},
                 {b, [a, b = shape_of(b)](const Tensor& gy, const Tensor&) { return reduced(mul(gy, a), b); }}});
}

Tensor div(const Tensor& a, const Tensor& b) {
  return record("div", binary("div", a, b, BinaryOp::div),
                {{a, [b, a = shape_of(a)](const Tensor& gy, const Tensor&) { return reduced(div(gy, b), a); }},
                 {b, [b](const Tensor& gy, const Tensor& y) { return reduced(-div(mul(gy, y), b), b); }}},
                Keep::output);
}

Tensor affine(const Tensor& x, double scale, double shift) {
  return record({"affine", Affine{scale, shift}}, unary(x, UnaryOp::affine, scale, shift),
                {{x, [scale](const Tensor& gy, const Tensor&) { return affine(gy, scale, 0); }}});
}

Tensor square(const Tensor& x) {
  return record("square", unary(x, UnaryOp::square),
                {{x, [x](const Tensor& gy, const Tensor&) { return mul(gy, x) * 2.0; }}});
}

Tensor sqrt(const Tensor& x) {
  return record("sqrt", unary(x, UnaryOp::sqrt),
                {{x, [](const Tensor& gy, const Tensor& y) { return div(gy, y) * 0.5; }}}, Keep::output);
}

Tensor rsqrt(const Tensor& x) {
  return record("rsqrt", unary(x, UnaryOp::rsqrt),
                {{x, [](const Tensor& gy, const Tensor& y) { return mul(gy, mul(y, square(y))) * -0.5; }}},
                Keep::output);
}

Tensor softplus(const Tensor& x) {
  return record("softplus", unary(x, UnaryOp::softplus),
                {{x, [x](const Tensor& gy, const Tensor&) { return mul(gy, sigmoid(x)); }}});
}

Tensor sigmoid(const Tensor& x) {
  return record("sigmoid", unary(x, UnaryOp::sigmoid),
                {{x, [](const Tensor& gy, const Tensor& y) { return mul(gy, mul(y, affine(y, -1, 1))); }}},
                Keep::output);
}

Tensor tanh(const Tensor& x) {
  return record("tanh", unary(x, UnaryOp::tanh),
                {{x, [](const Tensor& gy, const Tensor& y) { return mul(gy, affine(square(y), -1, 1)); }}},
                Keep::output);
}

Tensor exp(const Tensor& x) {
  return record("exp", unary(x, UnaryOp::exp), {{x, [](const Tensor& gy, const Tensor& y) { return mul(gy, y); }}},
                Keep::output);
}

Tensor log(const Tensor& x) {
  return record("log", unary(x, UnaryOp::log), {{x, [x](const Tensor& gy, const Tensor&) { return div(gy, x); }}});
}

Tensor abs(const Tensor& x) {
  return record("abs", unary(x, UnaryOp::abs),
                {{x, [x](const Tensor& gy, const Tensor&) { return mul(gy, sign(x)); }}});
}

Tensor sign(const Tensor& x) { return unary(x, UnaryOp::sign); }

Tensor gelu(const Tensor& x) {
  return record("gelu", unary(x, UnaryOp::gelu),
                {{x, [x](const Tensor& gy, const Tensor&) { return mul(gy, gelu_slope(x)); }}});
}

Tensor quick_gelu(const Tensor& x) {
  constexpr double a = 1.702;
  return record("quick_gelu", unary(x, UnaryOp::silu, a),
                {{x, [x](const Tensor& gy, const Tensor&) { return mul(gy, silu_slope(x, a)); }}});
}

Tensor cast(const Tensor& x, DType type) {
  if (type == x.type()) return x;
  Tensor y = x.like(x.shape(), type);
  dispatch(type, [&](auto to) {
    dispatch(x.type(), [&](auto from) {
      using To = decltype(to);
      using From = decltype(from);
      if constexpr (!std::is_same_v<To, From>)
        run(x.stream(), kernels::Cast<To, From>{y.mutable_as<To>(), x.as<From>(), x.count()});
    });
  });
  return record("cast", y, {{x, [type = x.type()](const Tensor& gy, const Tensor&) { return cast(gy, type); }}});
}

}  // namespace firn
