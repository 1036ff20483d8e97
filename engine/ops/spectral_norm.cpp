// Spectral normalisation: sigma is a scalar that divides what a layer gives. sigma and the outer product that is its
// gradient are each other's adjoint.
#include "kernels/ops/spectral_norm.h"

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/operands.h"
#include "engine/ops/recorded.h"
#include "kernels/ops/spectral_layer.h"

namespace firn {

namespace {

void check_vectors(const char* op, const Shape& w, DType type, const Tensor& u, const Tensor& v) {
  const int64_t O = w.empty() ? 0 : w[0], R = O ? count(w) / O : 0;
  if (R == 0 || u.shape() != Shape{O} || v.shape() != Shape{R} || u.type() != type || v.type() != type)
    throw ShapeError(fmt::format("{}: w {} {} needs u [{}] and v [{}], got {} {} and {} {}", op, to_string(w),
                                 name_of(type), O, R, to_string(u.shape()), name_of(u.type()), to_string(v.shape()),
                                 name_of(v.type())));
}

// x + k u v^T in a shape, x undefined for none
Tensor outer_add(const Tensor& x, const Tensor& k, const Spectral& s, const Shape& shape) {
  Tensor y = k.like(shape);
  dispatch_acc(k.type(), [&](auto tag) {
    using A = decltype(tag);
    run(k.stream(), kernels::OuterAdd<A>{y.mutable_as<A>(), static_cast<const A*>(ops::data_or_null(x)), k.as<A>(),
                                         s.u.as<A>(), s.v.as<A>(), s.u.count(), s.v.count()});
  });
  return y;
}

}  // namespace

std::vector<Spectral> power_iteration(const std::vector<SpectralLayer>& layers, int iterations) {
  if (iterations < 1) throw ShapeError(fmt::format("power_iteration: at least 1 iteration, got {}", iterations));
  std::vector<Spectral> result;
  if (layers.empty()) return result;
  const Tensor& first = layers[0].w;
  dispatch_acc(first.type(), [&](auto tag) {
    using A = decltype(tag);
    std::vector<kernels::SpectralLayer<A>> table;
    for (const SpectralLayer& l : layers) {
      ops::require("power_iteration", "w", l.w, ops::kSamples);
      const int64_t O = l.w.dim(0), R = O ? l.w.count() / O : 0;
      Spectral s{l.w.like({O}), l.w.like({R}), l.w.like({})};
      check_vectors("power_iteration", l.w.shape(), first.type(), l.u, s.v);
      Tensor kept = l.u;
      table.push_back({l.w.as<A>(), l.u.as<A>(), s.u.mutable_as<A>(), s.v.mutable_as<A>(), s.sigma.mutable_as<A>(),
                       l.keep ? kept.mutable_as<A>() : nullptr, O, R});
      result.push_back(std::move(s));
    }
    kernels::power_iteration(first.stream(), std::move(table), iterations);
  });
  return result;
}

Tensor spectral_sigma(const Tensor& w, const Spectral& s) {
  ops::require("spectral_sigma", "w", w, ops::kSamples);
  check_vectors("spectral_sigma", w.shape(), w.type(), s.u, s.v);
  const int64_t O = w.dim(0), R = s.v.count();
  Tensor sigma = s.sigma;
  if (!sigma.defined()) {
    const NoGrad scope;
    sigma = sum(mul(reshape(s.u, {O, 1}), matmul(reshape(w, {O, R}), reshape(s.v, {R, 1}))));
  }
  return record("spectral_sigma", sigma.detach(), {{w, [s, shape = w.shape()](const Tensor& gy, const Tensor&) {
                                                      return spectral_outer(gy, {.u = s.u, .v = s.v}, shape);
                                                    }}});
}

Tensor spectral_outer(const Tensor& k, const Spectral& s, const Shape& shape) {
  check_vectors("spectral_outer", shape, k.type(), s.u, s.v);
  if (k.count() != 1) throw ShapeError(fmt::format("spectral_outer: expected a number, got {}", to_string(k.shape())));
  return record("spectral_outer", outer_add({}, k, s, shape),
                {{k, [s, shape = k.shape()](const Tensor& gy, const Tensor&) {
                    return reshape(spectral_sigma(gy, {.u = s.u, .v = s.v}), shape);
                  }}});
}

namespace {

Tensor reciprocal(const Tensor& x) { return div(Tensor::full({}, 1, x.type(), x.device()), x); }

// The definition, in fewer passes where the device has them.
Tensor layer_by_ops(const Tensor& x, const Tensor& w, const Spectral& s, const Tensor& b, const Conv2d& conv,
                    BiasAct act) {
  act.d = expand(reciprocal(spectral_sigma(w, s)), {x.dim(0), w.dim(0)}, w.type());
  return styled_conv2d(x, {}, w, b, conv, act);
}

struct ActGradients {
  Tensor z, b, dots;  // dots: <gy, y> of each channel
};

ActGradients act_grad(const Tensor& gy, const Tensor& y, const Tensor& sigma, double slope, bool wants_b,
                      bool wants_dots) {
  const int64_t C = y.dim(-1);
  ActGradients g{y.like(), {}, {}};
  dispatch(y.type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    kernels::SpectralActGrad<T> k{.gz = g.z.mutable_as<T>(),
                                  .sums = nullptr,
                                  .dots = nullptr,
                                  .gy = gy.as<T>(),
                                  .y = y.as<T>(),
                                  .sigma = sigma.as<A>(),
                                  .R = y.count() / C,
                                  .C = C,
                                  .of = {.slope = static_cast<A>(slope)}};
    Tensor sums, dots;
    if (wants_b || wants_dots) {
      sums = y.like({k.blocks(), C}, acc_type(y.type()));
      k.sums = sums.mutable_as<A>();
    }
    if (wants_dots) {
      dots = sums.like();
      k.dots = dots.mutable_as<A>();
    }
    run(y.stream(), k);
    if (sums.defined()) g.b = sum_to(sums, {C});
    if (wants_dots) g.dots = sum_to(dots, {C});
  });
  return g;
}

// g is the gradient of w / sigma times 1 / sigma: less what goes back through sigma, <g, w> / sigma u v^T, as
// <gy, y> = <g, w>: the weights are far smaller than what they are applied to.
Tensor through_sigma(const Tensor& g, const Tensor& w, const Spectral& s) {
  const Shape matrix{1, w.count() / w.dim(-1), w.dim(-1)};
  const Tensor dot = sum(dot_pixels(g.view(matrix), w.view(matrix)));
  return outer_add(g, div(-dot, s.sigma), s, w.shape());
}

// The same of some rows, where nobody knows g of the others: <g, w> = <gt, t - b>, and <gt, t> = <gy, y>.
Tensor rows_through_sigma(const Tensor& g, const TrainedRows& rows, const ActGradients& of, const Tensor& b,
                          const Spectral& s) {
  const Tensor dot = sum(b.defined() ? of.dots - of.b * b.detach() : of.dots);
  return outer_add(g, div(-dot, s.sigma), {.u = gather(s.u, rows.index), .v = s.v}, g.shape());
}

}  // namespace

Tensor spectral_conv2d(const Tensor& x, const Tensor& w, const Spectral& s, const Tensor& b, Conv2d conv, BiasAct act) {
  ops::require("spectral_conv2d", "x", x, ops::kImages);
  ops::require("spectral_conv2d", "w", w, ops::kWeights);
  if (act.gain != 1 || act.clamp >= 0 || act.d.defined() || act.noise.defined())
    throw ShapeError("spectral_conv2d: expected an activation with nothing but a slope");
  Spectral known{s.u, s.v, spectral_sigma(w, s).detach()};
  const Tensor y = [&] {
    const NoGrad scope;
    return layer_by_ops(x, w, known, b, conv, act);
  }();
  return ops::record_fused(
      "spectral_conv2d", y, {x, w, b}, [=] { return layer_by_ops(x, w, s, b, conv, act); },
      [=](std::vector<Tensor> parts, const Tensor& out, const Wanted& wanted) -> std::vector<Tensor> {
        const TrainedRowsPtr rows = wanted[1] && conv.groups == 1 ? rows_of(w) : nullptr;
        const ActGradients g =
            act_grad(sum_of_parts(std::move(parts)), out, known.sigma, act.slope, wanted[2], rows != nullptr);
        Tensor gw;
        if (rows)
          gw = rows_through_sigma(ops::conv2d_weight_grad_of(rows, x.detach(), g.z, w.shape(), conv), *rows, g, b,
                                  known);
        else if (wanted[1])
          gw = through_sigma(conv2d_weight_grad(x.detach(), g.z, w.shape(), conv), w, known);
        return {wanted[0] ? conv2d_input_grad(g.z, w.detach(), x.shape(), conv) : Tensor{}, gw, g.b};
      },
      Keep::output);
}

}  // namespace firn
