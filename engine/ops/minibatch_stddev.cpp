// A kernel each for the value and the first gradient. Where the gradient is to be differentiated, it is made of ops.
#include "kernels/ops/minibatch_stddev.h"

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/operands.h"

namespace firn {

namespace {

// The definition, differentiable any number of times.
Tensor by_ops(const Tensor& x, const kernels::StddevGroups& n) {
  const auto [S, G, M, P, C, F] = n;
  const Tensor grouped = reshape(cast(x, acc_type(x.type())), {S, G, M, P, F, C / F});
  const Tensor centred = sub(grouped, mean_axes(grouped, {1}));
  const Tensor deviation = sqrt(mean_axes(square(centred), {1}) + 1e-8);  // [S,1,M,P,F,C/F]
  const Tensor feature = mean_axes(deviation, {3, 5});                    // [S,1,M,1,F,1]
  const Tensor tiled = expand(reshape(feature, {S, 1, M, 1, F}), {S, G, M, P, F}, x.type());
  return concat({x, reshape(tiled, {x.dim(0), x.dim(1), x.dim(2), F})}, 3);
}

}  // namespace

Tensor minibatch_stddev(const Tensor& x, int group, int features, int segments) {
  ops::require("minibatch_stddev", "x", x, ops::kImages);
  if (group < 1 || features < 1 || segments < 1)
    throw ShapeError(fmt::format("minibatch_stddev: groups of {}, {} features and {} segments; expected 1 or more each",
                                 group, features, segments));
  const int64_t N = x.dim(0) / segments, C = x.dim(3), F = features, G = std::min<int64_t>(group, N);
  if (G < 1 || N % G || C % F || x.dim(0) % segments)
    throw ShapeError(fmt::format(
        "minibatch_stddev: a batch of {} cannot be cut into groups of {}, or {} channels into {}", N, G, C, F));
  const kernels::StddevGroups n{segments, G, N / G, x.dim(1) * x.dim(2), C, F};
  Tensor y = x.like({x.dim(0), x.dim(1), x.dim(2), C + F});
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    run(x.stream(), kernels::MinibatchStddev<T>{y.mutable_as<T>(), x.as<T>(), n});
  });
  return record("minibatch_stddev", y,
                {{x, [x, n](const Tensor& gy, const Tensor&) {
                    if (is_recording()) return grad(sum(by_ops(x, n) * gy), {x}, {.create_graph = true})[0];
                    Tensor gx = x.like();
                    dispatch(x.type(), [&](auto tag) {
                      using T = decltype(tag);
                      run(x.stream(), kernels::MinibatchStddevGrad<T>{gx.mutable_as<T>(), gy.as<T>(), x.as<T>(), n});
                    });
                    return gx;
                  }}});
}

}  // namespace firn
