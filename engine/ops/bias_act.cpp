// What follows a convolution. bias_act records two stages, t = d x + strength noise + b and y = act(t); t is never
// stored. On a GPU, backward is one pass over gy and y for every gradient, those of a styled layer that takes y
// included, or ops where those are to be differentiated.
#include "kernels/ops/bias_act.h"

#include "base/error.h"
#include "engine/ops.h"
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

// What one pass of a first-order backward makes for all edges of t.
struct Gradients {
  Tensor x, d, b, strength;
};

struct Wanted {
  bool x, d, b, strength;
};

// The gradient of y is gy, which may be undefined, and what comes from a styled layer, which may be null. x may be
// undefined: it is then recovered from y. The gradient of d alone needs it.
Gradients backward(const Tensor& gy, ops::ScaledGradient* styled, const Tensor& y, const Tensor& x, const Tensor& b,
                   const BiasAct& p, const Wanted& want) {
  const int64_t N = y.dim(0), C = y.dim(-1), P = y.count() / std::max<int64_t>(1, N * C);
  const DType wide = acc_type(y.type());
  Gradients g{.x = y.like(), .d = {}, .b = {}, .strength = {}};
  dispatch(y.type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    const auto numbers = [](const Tensor& t) { return static_cast<const A*>(ops::data_or_null(t)); };
    kernels::BiasActBackward<T> k{.gx = g.x.mutable_as<T>(),
                                  .gy = gy.defined() ? gy.as<T>() : nullptr,
                                  .scaled = styled ? styled->gy.as<T>() : nullptr,
                                  .scale = styled ? styled->s.as<A>() : nullptr,
                                  .y = y.as<T>(),
                                  .x = x.defined() ? x.as<T>() : nullptr,
                                  .d = numbers(p.d),
                                  .noise = numbers(p.noise),
                                  .strength = numbers(p.strength),
                                  .b = numbers(b),
                                  .N = N,
                                  .P = P,
                                  .C = C,
                                  .noise_images = p.noise.defined() ? p.noise.dim(0) : 0,
                                  .slope = static_cast<A>(p.slope),
                                  .gain = static_cast<A>(p.gain),
                                  .clamp = static_cast<A>(p.clamp)};
    const int64_t parts = k.blocks_per_image();
    Tensor sums, dots, scaled_dots, noise_dots;
    const auto parts_of = [&](bool wanted, Tensor& t, Shape shape) {
      if (wanted) t = y.like(std::move(shape), wide);
      return wanted ? t.mutable_as<A>() : nullptr;
    };
    k.sums = parts_of(want.b, sums, {N, parts, C});
    k.dots = parts_of(want.d, dots, {N, parts, C});
    k.scaled_dots = parts_of(styled && styled->lacks_dots(), scaled_dots, {N, parts, C});
    k.noise_dots = parts_of(want.strength, noise_dots, {k.blocks()});
    run(y.stream(), k);
    if (want.d) g.d = reshape(sum_to(dots, {N, 1, C}), {N, C});
    if (want.b) g.b = sum_to(sums, {C});
    if (want.strength) g.strength = reshape(sum(noise_dots), p.strength.shape());
    if (scaled_dots.defined()) styled->dots = reshape(sum_to(scaled_dots, {N, 1, C}), {N, C});
    if (styled) styled->release();
    if (!want.x) g.x = {};
  });
  return g;
}

}  // namespace

kernels::ConvEpilogue ops::epilogue(const Tensor& b, const BiasAct& p) {
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
  if (p.noise.defined() && (!p.strength.defined() || p.strength.count() != 1 || x.size() != 4 || p.noise.rank() != 3 ||
                            (p.noise.dim(0) != N && p.noise.dim(0) != 1) || p.noise.dim(1) != x[1] ||
                            p.noise.dim(2) != x[2] || p.noise.type() != acc_type(type)))
    throw ShapeError(
        fmt::format("bias_act: noise {} with a strength does not fit x {}", to_string(p.noise.shape()), to_string(x)));
}

Tensor bias_act(const Tensor& x, const Tensor& b, BiasAct p) {
  ops::check_bias_act(x.shape(), x.type(), b, p);
  const int64_t N = x.dim(0), C = x.dim(-1), P = x.count() / std::max<int64_t>(1, N * C);
  Tensor y = x.like();
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    run(x.stream(), kernels::BiasAct<T>{y.mutable_as<T>(), x.as<T>(), static_cast<const A*>(ops::data_or_null(p.d)),
                                        static_cast<const A*>(ops::data_or_null(p.noise)),
                                        static_cast<const A*>(ops::data_or_null(p.strength)),
                                        static_cast<const A*>(ops::data_or_null(b)), N, P, C,
                                        p.noise.defined() ? p.noise.dim(0) : 0, static_cast<A>(p.slope),
                                        static_cast<A>(p.gain), static_cast<A>(p.clamp)});
  });
  return ops::record_bias_act(y, x, b, p, {});
}

Tensor ops::record_bias_act(const Tensor& y, const Tensor& x, const Tensor& b, const BiasAct& p,
                            const std::function<Tensor()>& make_x) {
  if (!is_recording()) return y;
  // The first backward finds all gradients of t at once and leaves them here; t itself has no values then.
  const auto found = std::make_shared<Gradients>();
  // On the CPU the ops are faster: their loops vectorise, that of the one pass does not.
  const bool by_ops = (p.slope == 1 && p.clamp < 0) || !y.stream().is_cuda;
  const auto edge = [&](const Tensor& input, Tensor Gradients::*part, const GradFn& composed) {
    if (by_ops) return Edge{input, composed};
    return Edge{input, [found, part, composed](const Tensor& gt, const Tensor& t) {
                  return is_recording() ? composed(gt, t) : std::exchange((*found).*part, {});
                }};
  };
  const Wanted want{x.wants_grad(), p.d.wants_grad(), b.wants_grad(), p.strength.wants_grad()};
  const Tensor kept = want.d && !make_x ? x : Tensor{};
  std::vector<Edge> edges;
  edges.push_back(edge(x, &Gradients::x, [d = p.d](const Tensor& gt, const Tensor&) {
    return d.defined() ? scale_channels(gt, d) : gt;
  }));
  if (want.d)
    edges.push_back(edge(p.d, &Gradients::d, [kept, make_x](const Tensor& gt, const Tensor&) {
      return dot_pixels(gt, make_x ? make_x() : kept);
    }));
  if (b.defined())
    edges.push_back(
        edge(b, &Gradients::b, [C = y.dim(-1)](const Tensor& gt, const Tensor&) { return sum_to(gt, {C}); }));
  if (p.noise.defined())
    edges.push_back(edge(p.strength, &Gradients::strength,
                         [noise = p.noise, shape = p.strength.shape()](const Tensor& gt, const Tensor&) {
                           return noise_dot(gt, noise, shape);
                         }));
  const Tensor t = record("affine_noise", Tensor::without_storage(y.shape(), y.type(), y.device()), std::move(edges));
  BiasAct values = p;
  values.d = p.d.detach();
  values.strength = p.strength.detach();
  const GradOfParts in_one_pass = [=, kept = kept.detach(), b = b.detach()](std::vector<Tensor> parts,
                                                                            const Tensor& out) {
    std::shared_ptr<ops::ScaledGradient> styled;
    for (Tensor& part : parts) {
      const auto g = std::dynamic_pointer_cast<ops::ScaledGradient>(part.deferred());
      if (!g || (g->lacks_dots() && g->x.data() != out.data())) continue;
      styled = g;
      std::swap(part, parts.back());
      parts.pop_back();
      break;
    }
    *found = backward(sum_of_parts(std::move(parts)), styled.get(), out, kept, b, values, want);
    return Tensor::without_storage(out.shape(), out.type(), out.device());
  };
  return record("bias_act", y,
                {{t,
                  [=](const Tensor& gy, const Tensor& out) {
                    if (by_ops || is_recording())
                      return bias_act_grad(gy, out, values.slope, values.gain, values.clamp);
                    return in_one_pass({gy}, out);
                  }}},
                Keep::output, by_ops ? GradOfParts{} : in_one_pass);
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
