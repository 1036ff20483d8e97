// What follows a convolution: y = act(t), t = d x + strength noise + b; t is never stored. Backward is one pass over gy
// and y for every gradient, those of a styled layer that takes y included, or ops where those are to be differentiated.
#include "kernels/ops/bias_act.h"

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/deferred.h"
#include "engine/ops/operands.h"
#include "engine/ops/recorded.h"

namespace firn {

namespace {

void check_operand(const char* name, const Tensor& t, const Shape& expected, const Shape& x, DType type) {
  if (t.defined() && (t.shape() != expected || t.type() != acc_type(type)))
    throw ShapeError(fmt::format("bias_act: x {} {} needs {} {} {}, got {} {}", to_string(x), name_of(type), name,
                                 to_string(expected), name_of(acc_type(type)), to_string(t.shape()),
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

// strength times the sum over channels, and over images that share their noise, of gt[n,h,w,c].
Tensor noise_gradient(const Tensor& gt, const Tensor& strength, const Shape& noise) {
  return reshape(sum_to(gt, {noise[0], noise[1], noise[2], 1}) * reshape(strength, {1, 1, 1, 1}), noise);
}

// The gradients of x, d, b and strength, not that of noise. kept is x, or undefined: it is then recovered from y. The
// gradient of d alone needs it.
std::vector<Tensor> backward(std::vector<Tensor> parts, const Tensor& y, const Tensor& kept, const Tensor& b,
                             const BiasAct& p, const Wanted& wanted) {
  const auto styled = ops::take<ops::ScaledGradient>(parts);
  const Tensor gy = sum_of_parts(std::move(parts));
  const int64_t N = y.dim(0), C = y.dim(-1), P = y.count() / std::max<int64_t>(1, N * C);
  const DType wide = acc_type(y.type());
  Tensor gx = y.like(), gd, gb, gstrength;
  dispatch(y.type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    kernels::BiasActBackward<T> k{.gx = gx.mutable_as<T>(),
                                  .gy = gy.defined() ? gy.as<T>() : nullptr,
                                  .scaled = styled ? styled->gy.as<T>() : nullptr,
                                  .scale = styled ? styled->s.as<A>() : nullptr,
                                  .y = y.as<T>(),
                                  .x = kept.defined() ? kept.as<T>() : nullptr,
                                  .N = N,
                                  .P = P,
                                  .C = C,
                                  .of = ops::epilogue(b, p).as<A>()};
    const int64_t blocks = k.blocks_per_image();
    Tensor sums, dots, scaled_dots, noise_dots;
    const auto parts_of = [&](bool wanted, Tensor& t, Shape shape) {
      if (wanted) t = y.like(std::move(shape), wide);
      return wanted ? t.mutable_as<A>() : nullptr;
    };
    k.dots = parts_of(wanted[1], dots, {N, blocks, C});
    k.sums = parts_of(wanted[2], sums, {N, blocks, C});
    k.noise_dots = parts_of(wanted[3], noise_dots, {k.blocks()});
    k.scaled_dots = parts_of(styled && styled->lacks_dots(), scaled_dots, {N, blocks, C});
    run(y.stream(), k);
    if (wanted[1]) gd = reshape(sum_to(dots, {N, 1, C}), {N, C});
    if (wanted[2]) gb = sum_to(sums, {C});
    if (wanted[3]) gstrength = reshape(sum(noise_dots), p.strength.shape());
    if (scaled_dots.defined()) styled->dots = reshape(sum_to(scaled_dots, {N, 1, C}), {N, C});
    if (styled) styled->release();
  });
  return {gx, gd, gb, gstrength, {}};
}

// x, which is `node` to the tape, as y tells it: (t - strength noise - b) / d. It is wrong where y is clamped, or cut
// off by a slope of 0, but there gt, by which it is multiplied, is 0.
Tensor recovered(const Tensor& y, const Tensor& b, const BiasAct& p, const std::shared_ptr<Node>& node) {
  const NoGrad scope;
  const Tensor t = bias_act(y, {}, {.slope = p.slope == 0 ? 0 : 1 / p.slope, .gain = 1 / p.gain});
  BiasAct rest{.noise = p.noise};
  if (p.noise.defined()) rest.strength = -p.strength;
  Tensor x =
      scale_channels(bias_act(t, b.defined() ? -b : b, rest), Tensor::full({1, 1}, 1, p.d.type(), p.d.device()) / p.d);
  x.set_node(node);
  return x;
}

}  // namespace

kernels::Epilogue<> ops::epilogue(const Tensor& b, const BiasAct& p) {
  return {.d = data_or_null(p.d),
          .noise = data_or_null(p.noise),
          .strength = data_or_null(p.strength),
          .b = data_or_null(b),
          .noise_images = p.noise.defined() ? p.noise.dim(0) : 1,
          .slope = p.slope,
          .gain = p.gain,
          .clamp = p.clamp};
}

void ops::check_bias_act(const Shape& x, DType type, const Tensor& b, const BiasAct& p) {
  const int64_t N = x[0], C = x.back();
  check_operand("b", b, {C}, x, type);
  check_operand("d", p.d, {N, C}, x, type);
  if (p.noise.defined() && (!p.strength.defined() || p.strength.count() != 1 || p.strength.type() != acc_type(type) ||
                            x.size() != 4 || p.noise.rank() != 3 || (p.noise.dim(0) != N && p.noise.dim(0) != 1) ||
                            p.noise.dim(1) != x[1] || p.noise.dim(2) != x[2] || p.noise.type() != acc_type(type)))
    throw ShapeError(
        fmt::format("bias_act: noise {} with a strength does not fit x {}", to_string(p.noise.shape()), to_string(x)));
}

Tensor bias_act(const Tensor& x, const Tensor& b, BiasAct p) {
  ops::require("bias_act", "x", x, ops::kChannels);
  ops::check_bias_act(x.shape(), x.type(), b, p);
  const int64_t N = x.dim(0), C = x.dim(-1), P = x.count() / std::max<int64_t>(1, N * C);
  Tensor y = x.like();
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(), kernels::BiasAct<T>{y.mutable_as<T>(), x.as<T>(), N, P, C, ops::epilogue(b, p).as<acc_t<T>>()});
  });
  return ops::record_bias_act(y, x, b, p);
}

Tensor ops::record_bias_act(const Tensor& y, const Tensor& x, const Tensor& b, const BiasAct& p) {
  const bool in_one_pass = !epilogue(b, p).is_linear(), has_values = !x.identity().expired();
  return record(
      {"bias_act", p}, y, {x, p.d, b, p.noise.defined() ? p.strength : Tensor{}, p.noise},
      [=, kept = p.d.wants_grad() && has_values ? x : Tensor{}, node = x.node()](
          std::vector<Tensor> parts, const Tensor& out, const Wanted& wanted) -> std::vector<Tensor> {
        if (in_one_pass && !wanted[4] && !is_recording()) return backward(std::move(parts), out, kept, b, p, wanted);
        const Tensor gt = bias_act_grad(sum_of_parts(std::move(parts)), out, p.slope, p.gain, p.clamp);
        return {!wanted[0]      ? Tensor{}
                : p.d.defined() ? scale_channels(gt, p.d)
                                : gt,
                wanted[1] ? dot_pixels(gt, kept.defined() ? kept : recovered(out, b, p, node)) : Tensor{},
                wanted[2] ? sum_to(gt, {gt.dim(-1)}) : Tensor{},
                wanted[3] ? noise_dot(gt, p.noise, p.strength.shape()) : Tensor{},
                wanted[4] ? noise_gradient(gt, p.strength, p.noise.shape()) : Tensor{}};
      },
      Keep::output);
}

Tensor bias_act_grad(const Tensor& gy, const Tensor& y, double slope, double gain, double clamp) {
  if (gy.shape() != y.shape() || gy.type() != y.type())
    throw ShapeError(fmt::format("bias_act_grad: gy {} and y {} differ", to_string(gy.shape()), to_string(y.shape())));
  const kernels::Epilogue<> activation{.slope = slope, .gain = gain, .clamp = clamp};
  if (activation.is_linear()) return gain == 1 ? gy : gy * gain;
  Tensor gt = gy.like();
  dispatch(gy.type(), [&](auto tag) {
    using T = decltype(tag);
    run(gy.stream(),
        kernels::BiasActGrad<T>{gt.mutable_as<T>(), gy.as<T>(), y.as<T>(), gy.count(), activation.as<acc_t<T>>()});
  });
  // Piecewise linear: linear in gy, and no gradient for y almost everywhere.
  return record("bias_act_grad", gt, {{gy, [y = y.detach(), slope, gain, clamp](const Tensor& ggt, const Tensor&) {
                                         return bias_act_grad(ggt, y, slope, gain, clamp);
                                       }}});
}

}  // namespace firn
