// What follows a convolution. bias_act records two stages, t = d x + strength noise + b and y = act(t); t is never
// stored, so the one pass over gy that makes gt serves every gradient.
#include "kernels/bias_act.h"

#include "engine/ops.h"
#include "kernels/error.h"

namespace firn {

namespace {

const void* data_or_null(const Tensor& t) { return t.defined() ? t.data() : nullptr; }

void check_operand(const char* name, const Tensor& t, const Shape& expected, const Tensor& x) {
  if (t.defined() && (t.shape() != expected || t.type() != acc_type(x.type())))
    throw ShapeError(fmt::format("bias_act: x {} {} needs {} {} {}, got {} {}", to_string(x.shape()), name_of(x.type()),
                                 name, to_string(expected), name_of(acc_type(x.type())), to_string(t.shape()),
                                 name_of(t.type())));
}

// sum over everything of gt[n,..,c] noise[n,..], as [].
Tensor noise_dot(const Tensor& gt, const Tensor& noise, const Shape& strength_shape) {
  Shape per_pixel = gt.shape();
  per_pixel.back() = 1;
  const Tensor g = sum_to(gt, per_pixel);  // f32 [N,H,W,1]
  Shape n = noise.shape();
  n.push_back(1);
  return reshape(sum(mul(g, reshape(noise, n))), strength_shape);
}

}  // namespace

Tensor bias_act(const Tensor& x, const Tensor& b, BiasAct p) {
  const int64_t N = x.dim(0), C = x.dim(-1), P = x.count() / std::max<int64_t>(1, N * C);
  check_operand("b", b, {C}, x);
  check_operand("d", p.d, {N, C}, x);
  if (p.noise.defined() && (!p.strength.defined() || p.strength.count() != 1 || x.rank() != 4 || p.noise.rank() != 3 ||
                            (p.noise.dim(0) != N && p.noise.dim(0) != 1) || p.noise.dim(1) != x.dim(1) ||
                            p.noise.dim(2) != x.dim(2) || p.noise.type() != acc_type(x.type())))
    throw ShapeError(fmt::format("bias_act: noise {} with a strength does not fit x {}", to_string(p.noise.shape()),
                                 to_string(x.shape())));
  Tensor y = x.like();
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    run(x.stream(), kernels::BiasAct<T>{
                        y.mutable_as<T>(), x.as<T>(), static_cast<const A*>(data_or_null(p.d)),
                        static_cast<const A*>(data_or_null(p.noise)), static_cast<const A*>(data_or_null(p.strength)),
                        static_cast<const A*>(data_or_null(b)), N, P, C, p.noise.defined() ? p.noise.dim(0) : 0,
                        static_cast<A>(p.slope), static_cast<A>(p.gain), static_cast<A>(p.clamp)});
  });

  std::vector<Edge> edges;
  if (p.d.defined()) {
    edges.push_back({x, [d = p.d](const Tensor& gt, const Tensor&) { return scale_channels(gt, d); }});
    edges.push_back({p.d, [x](const Tensor& gt, const Tensor&) { return dot_pixels(gt, x); }});
  } else {
    edges.push_back({x, [](const Tensor& gt, const Tensor&) { return gt; }});
  }
  if (b.defined()) edges.push_back({b, [C](const Tensor& gt, const Tensor&) { return sum_to(gt, {C}); }});
  if (p.noise.defined())
    edges.push_back({p.strength, [noise = p.noise, shape = p.strength.shape()](const Tensor& gt, const Tensor&) {
                       return noise_dot(gt, noise, shape);
                     }});
  const Tensor t = record("affine_noise", Tensor::without_storage(x.shape(), x.type(), x.device()), std::move(edges));
  return record("bias_act", y,
                {{t, [slope = p.slope, gain = p.gain, clamp = p.clamp](
                         const Tensor& gy, const Tensor& out) { return bias_act_grad(gy, out, slope, gain, clamp); }}},
                Keep::output);
}

Tensor bias_act_grad(const Tensor& gy, const Tensor& y, double slope, double gain, double clamp) {
  if (gy.shape() != y.shape() || gy.type() != y.type())
    throw ShapeError(fmt::format("bias_act_grad: gy {} and y {} differ", to_string(gy.shape()), to_string(y.shape())));
  if (slope == 1 && clamp < 0) return gain == 1 ? gy : gy * gain;
  Tensor gt = gy.like();
  dispatch(gy.type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    run(gy.stream(), kernels::BiasActGrad<T>{gt.mutable_as<T>(), gy.as<T>(), y.as<T>(), gy.count(),
                                             static_cast<A>(slope), static_cast<A>(gain), static_cast<A>(clamp)});
  });
  // Piecewise linear: linear in gy, and no gradient for y almost everywhere.
  return record("bias_act_grad", gt, {{gy, [y = y.detach(), slope, gain, clamp](const Tensor& ggt, const Tensor&) {
                                         return bias_act_grad(ggt, y, slope, gain, clamp);
                                       }}});
}

}  // namespace firn
