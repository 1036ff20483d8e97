// The head of a projection discriminator. Backward is a pass for x and one for all else; where gradients are to be
// differentiated, they are made of ops.
#include "kernels/ops/projection.h"

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/operands.h"
#include "engine/ops/recorded.h"

namespace firn {

namespace {

void check_operands(const Tensor& x, const Projection& p) {
  ops::require("projection", "x", x, ops::kChannels);
  const int64_t N = x.dim(0), C = x.dim(-1);
  const auto check = [&](const char* name, const Tensor& t, const char* layout, bool fits) {
    if (!fits || t.type() != acc_type(x.type()))
      throw ShapeError(fmt::format("projection: x {} {} needs {} {} {}, got {}", to_string(x.shape()),
                                   name_of(x.type()), name, layout, name_of(acc_type(x.type())),
                                   t.defined() ? to_string(t.shape()) + " " + name_of(t.type()) : "no tensor"));
  };
  check("w", p.w, "[1,C]", p.w.defined() && p.w.count() == C);
  check("b", p.b, "[1]", p.b.defined() && p.b.count() == 1);
  for (const Tensor* sigma : {&p.w_sigma, &p.embed_sigma})
    if (sigma->defined()) check("a sigma", *sigma, "[]", sigma->count() == 1);
  if (!p.embed.defined()) return;
  check("embed", p.embed, "[K,C]", p.embed.rank() == 2 && p.embed.dim(1) == C);
  if (!p.labels.defined() || p.labels.shape() != Shape{N} || p.labels.type() != DType::i32)
    throw ShapeError(fmt::format("projection: expected labels [{}] i32, got {}", N,
                                 p.labels.defined() ? to_string(p.labels.shape()) : "no tensor"));
  if (p.labels.device().is_cuda()) return;
  const int32_t* const labels = p.labels.as<int32_t>();
  for (int64_t n = 0; n < N; ++n)
    if (labels[n] < 0 || labels[n] >= p.embed.dim(0))
      throw ShapeError(fmt::format("projection: label {} where there are {} classes", labels[n], p.embed.dim(0)));
}

// The definition, differentiable any number of times.
Tensor by_ops(const Tensor& x, const Projection& p) {
  const int64_t N = x.dim(0), C = x.dim(-1);
  const Tensor pixels = reshape(relu(cast(x, acc_type(x.type()))), {N, -1, C});
  const Tensor h = reshape(sum_to(pixels, {N, 1, C}), {N, C});
  const auto over = [](const Tensor& y, const Tensor& sigma) { return sigma.defined() ? div(y, sigma) : y; };
  Tensor y = over(matmul(h, reshape(p.w, {1, C}), {.trans_b = true}), p.w_sigma) + reshape(p.b, {1});
  if (p.embed.defined()) y = y + over(sum_to(mul(gather(p.embed, p.labels), h), {N, 1}), p.embed_sigma);
  return y;
}

template <class A>
kernels::ProjectionHead<A> head(const Tensor& x, const Projection& p) {
  const auto numbers = [](const Tensor& t) { return static_cast<const A*>(ops::data_or_null(t)); };
  return {.w = numbers(p.w),
          .b = numbers(p.b),
          .embed = numbers(p.embed),
          .labels = p.embed.defined() ? p.labels.as<int32_t>() : nullptr,
          .w_sigma = numbers(p.w_sigma),
          .embed_sigma = numbers(p.embed_sigma),
          .K = p.embed.defined() ? p.embed.dim(0) : 0,
          .C = x.dim(-1)};
}

// The gradients of x, w, b, embed, w_sigma and embed_sigma.
std::vector<Tensor> backward(const Tensor& g, const Tensor& x, const Tensor& h, const Tensor& terms,
                             const Projection& p, const Wanted& wanted) {
  const int64_t N = x.dim(0), C = x.dim(-1);
  Tensor gx = wanted[0] ? x.like() : Tensor{}, gw = p.w.like(), gb = p.b.like(),
         gembed = wanted[3] ? p.embed.like() : Tensor{}, gw_sigma = h.like({}), gembed_sigma = h.like({});
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    const auto parts = head<A>(x, p);
    if (wanted[0])
      run(x.stream(),
          kernels::ProjectionInputGrad<T>{gx.mutable_as<T>(), g.as<A>(), x.as<T>(), parts, N, x.count() / (N * C)});
    run(x.stream(),
        kernels::ProjectionWeightGrad<A>{gw.mutable_as<A>(), gb.mutable_as<A>(),
                                         gembed.defined() ? gembed.mutable_as<A>() : nullptr, gw_sigma.mutable_as<A>(),
                                         gembed_sigma.mutable_as<A>(), g.as<A>(), terms.as<A>(), h.as<A>(), parts, N});
  });
  for (auto [sigma, like] : {std::pair{&gw_sigma, &p.w_sigma}, {&gembed_sigma, &p.embed_sigma}})
    if (like->defined()) *sigma = sigma->view(like->shape());
  return {gx, gw, gb, gembed, gw_sigma, gembed_sigma};
}

}  // namespace

Tensor projection(const Tensor& x, const Projection& p) {
  check_operands(x, p);
  const int64_t N = x.dim(0), C = x.dim(-1);
  const DType wide = acc_type(x.type());
  Tensor y = x.like({N, 1}, wide), terms = x.like({2, N}, wide), h = x.like({N, C}, wide);
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    run(x.stream(), kernels::Projection<T>{y.mutable_as<A>(), terms.mutable_as<A>(), h.mutable_as<A>(), x.as<T>(),
                                           head<A>(x, p), N, x.count() / (N * C)});
  });
  return ops::record_fused(
      "projection", y, {x, p.w, p.b, p.embed, p.w_sigma, p.embed_sigma}, [=] { return by_ops(x, p); },
      [=](std::vector<Tensor> parts, const Tensor&, const Wanted& wanted) {
        return backward(sum_of_parts(std::move(parts)), x, h, terms, p, wanted);
      });
}

}  // namespace firn
