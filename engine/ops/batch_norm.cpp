// Batch normalisation. Backward finds the gradients of all three operands at once; where they are to be differentiated,
// they are made of ops.
#include "kernels/ops/batch_norm.h"

#include <numeric>

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/operands.h"
#include "engine/ops/recorded.h"
#include "kernels/ops/reduce.h"

namespace firn {

namespace {

struct Sizes {
  int64_t G, P, C;  // groups of samples with a gamma of their own, their pixels, channels
  int64_t rows() const { return G * P; }
};

struct Statistics {
  Tensor mean, rstd;  // [C]
};

Sizes sizes(const Tensor& x, const Tensor& gamma) {
  const int64_t G = gamma.rank() == 2 ? x.dim(0) : 1, C = x.dim(-1);
  return {G, x.count() / (G * C), C};
}

void check_operands(const Tensor& x, const Tensor& gamma, const Tensor& beta, const BatchNorm& p) {
  ops::require("batch_norm", "x", x, ops::kChannels);
  const int64_t N = x.dim(0), C = x.dim(-1);
  const DType wide = acc_type(x.type());
  if (x.count() == 0 || (gamma.shape() != Shape{C} && gamma.shape() != Shape{N, C}) || beta.shape() != gamma.shape() ||
      gamma.type() != wide || beta.type() != wide)
    throw ShapeError(fmt::format("batch_norm: x {} needs gamma and beta [{}] or [{},{}] {}, got {} {} and {} {}",
                                 to_string(x.shape()), C, N, C, name_of(wide), to_string(gamma.shape()),
                                 name_of(gamma.type()), to_string(beta.shape()), name_of(beta.type())));
  for (const Tensor* average : {&p.avg_mean, &p.avg_var})
    if (average->defined() ? average->shape() != Shape{C} || average->type() != wide : !p.train)
      throw ShapeError(fmt::format("batch_norm: x {} needs running averages [{}] {}{}", to_string(x.shape()), C,
                                   name_of(wide), average->defined() ? ", got " + to_string(average->shape()) : ""));
}

// The definition, differentiable any number of times.
Tensor by_ops(const Tensor& x, const Tensor& gamma, const Tensor& beta, const BatchNorm& p) {
  std::vector<int> samples_and_pixels(static_cast<size_t>(x.rank() - 1));
  std::iota(samples_and_pixels.begin(), samples_and_pixels.end(), 0);
  Shape one_a_channel(static_cast<size_t>(x.rank()), 1);
  one_a_channel.back() = x.dim(-1);
  if (gamma.rank() == 2) one_a_channel[0] = x.dim(0);
  const Tensor wide = cast(x, acc_type(x.type()));
  const Tensor centred = sub(wide, p.train ? mean_axes(wide, samples_and_pixels) : p.avg_mean);
  const Tensor variance = p.train ? mean_axes(square(centred), samples_and_pixels) : p.avg_var;
  const Tensor slope = mul(rsqrt(variance + p.eps), reshape(gamma, one_a_channel));
  const Tensor y = mul(centred, slope) + reshape(beta, one_a_channel);
  return cast(p.relu ? relu(y) : y, x.type());
}

template <class T>
kernels::NormalizedRows<T> normalized(const Tensor& x, const Statistics& s, const Tensor& gamma, const Tensor& beta,
                                      bool relu) {
  using A = acc_t<T>;
  const auto [G, P, C] = sizes(x, gamma);
  return {x.as<T>(), s.mean.as<A>(), s.rstd.as<A>(), gamma.as<A>(), beta.as<A>(), G, P, C, relu};
}

Statistics statistics(const Tensor& x, BatchNorm& p) {
  if (!p.train) {
    const NoGrad scope;
    return {p.avg_mean, rsqrt(p.avg_var + p.eps)};
  }
  const int64_t C = x.dim(-1), R = x.count() / C;
  const DType wide = acc_type(x.type());
  Statistics s{x.like({C}, wide), x.like({C}, wide)};
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    kernels::PartMoments<T> part{.sums = nullptr, .squares = nullptr, .x = x.as<T>(), .R = R, .C = C};
    Tensor parts = x.like({2, part.blocks(), C}, wide);
    part.sums = parts.mutable_as<A>();
    part.squares = part.sums + part.blocks() * C;
    run(x.stream(), part);
    const auto average = [](Tensor& t) { return t.defined() ? t.mutable_as<A>() : nullptr; };
    run(x.stream(),
        kernels::JoinMoments<A>{s.mean.mutable_as<A>(), s.rstd.mutable_as<A>(), average(p.avg_mean), average(p.avg_var),
                                part.sums, part.squares, part.blocks(), part.rows_per_part(), R, C,
                                static_cast<A>(p.eps), static_cast<A>(p.decay)});
  });
  return s;
}

// The gradients of x, gamma and beta.
std::vector<Tensor> backward(const Tensor& gy, const Tensor& x, const Statistics& s, const Tensor& gamma,
                             const Tensor& beta, const BatchNorm& p) {
  const auto n = sizes(x, gamma);
  const DType wide = acc_type(x.type());
  Tensor gx = x.like(), ggamma = gamma.like(), gbeta = gamma.like();
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    const auto rows = normalized<T>(x, s, gamma, beta, p.relu);
    Tensor parts = x.like({2, n.G, rows.blocks_per_group(), n.C}, wide), sums = x.like({2, n.G, n.C}, wide);
    Tensor level = x.like({n.C}, wide), slope = x.like({n.C}, wide);
    run(x.stream(), kernels::BatchNormSums<T>{parts.mutable_as<A>(), gy.as<T>(), rows});
    kernels::sum_middle<A>(x.stream(), sums.mutable_as<A>(), parts.as<A>(), 2 * n.G, rows.blocks_per_group(), n.C);
    run(x.stream(), kernels::BatchNormJoin<A>{ggamma.mutable_as<A>(), gbeta.mutable_as<A>(), level.mutable_as<A>(),
                                              slope.mutable_as<A>(), sums.as<A>(), s.rstd.as<A>(), gamma.as<A>(), n.G,
                                              n.C, n.rows(), !p.train});
    run(x.stream(), kernels::BatchNormGrad<T>{gx.mutable_as<T>(), gy.as<T>(), level.as<A>(), slope.as<A>(), rows});
  });
  return {gx, ggamma, gbeta};
}

}  // namespace

Tensor batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, BatchNorm p) {
  check_operands(x, gamma, beta, p);
  const Statistics s = statistics(x, p);
  Tensor y = x.like();
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(), kernels::BatchNormApply<T>{y.mutable_as<T>(), normalized<T>(x, s, gamma, beta, p.relu)});
  });
  return ops::record_fused(
      "batch_norm", y, {x, gamma, beta}, [=] { return by_ops(x, gamma, beta, p); },
      [=](std::vector<Tensor> parts, const Tensor&, const Wanted&) {
        return backward(sum_of_parts(std::move(parts)), x, s, gamma, beta, p);
      });
}

}  // namespace firn
