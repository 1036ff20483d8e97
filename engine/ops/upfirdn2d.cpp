// upfirdn2d is its own gradient with up and down exchanged and the filter flipped.
#include "kernels/ops/upfirdn2d.h"

#include <algorithm>

#include "base/error.h"
#include "engine/observer.h"
#include "engine/ops.h"
#include "engine/ops/deferred.h"
#include "engine/ops/operands.h"
#include "engine/ops/recorded.h"

namespace firn {

namespace {

struct Size {
  int64_t H, W;
};

Size output_size(const Shape& x, const Fir& p) {
  const int64_t taps = static_cast<int64_t>(p.taps.size());
  const auto size = [&](int64_t n, int before, int after) {
    const int64_t room = n * p.up + before + after - taps;
    return room < 0 ? 0 : room / p.down + 1;
  };
  return {size(x[1], p.pad_y0, p.pad_y1), size(x[2], p.pad_x0, p.pad_x1)};
}

Fir adjoint(const Fir& p, const Shape& x, const Shape& y) {
  Fir q = p;
  std::reverse(q.taps.begin(), q.taps.end());
  std::swap(q.up, q.down);
  const int taps = static_cast<int>(p.taps.size());
  const auto after = [&](int64_t in, int64_t out, int before) {
    return static_cast<int>(in * p.up - out * p.down + before - p.up + 1);
  };
  q.pad_x0 = taps - p.pad_x0 - 1;
  q.pad_y0 = taps - p.pad_y0 - 1;
  q.pad_x1 = after(x[2], y[2], p.pad_x0);
  q.pad_y1 = after(x[1], y[1], p.pad_y0);
  return q;
}

template <class T>
void launch(const Stream& stream, const kernels::Upfirdn2d<T>& k) {
  if (!stream.is_cuda) return run(stream, kernels::Upfirdn2dRows<T>{k});
  if constexpr (!std::is_same_v<T, double>) {
    if (kernels::has_vectors(k)) {
      if (k.up == 2) return run(stream, kernels::Upfirdn2dVectors<T, 2, 1>{k});
      if (k.down == 2) return run(stream, kernels::Upfirdn2dVectors<T, 1, 2>{k});
      return run(stream, kernels::Upfirdn2dVectors<T, 1, 1>{k});
    }
  }
  run(stream, k);
}

}  // namespace

Shape ops::upfirdn2d_shape(const Tensor& x, const Fir& p) {
  const size_t taps = p.taps.size();
  ops::require("upfirdn2d", "x", x, ops::kImages);
  if (taps == 0 || taps > kernels::kMaxTaps || p.up < 1 || p.down < 1)
    throw ShapeError(fmt::format("upfirdn2d: expected 1..{} taps, up and down 1 or more, got {}, {} and {}",
                                 kernels::kMaxTaps, taps, p.up, p.down));
  const Size size = output_size(x.shape(), p);
  if (size.H < 1 || size.W < 1)
    throw ShapeError(fmt::format("upfirdn2d: x {} is smaller than the filter", to_string(x.shape())));
  return {x.dim(0), size.H, size.W, x.dim(3)};
}

namespace {

template <class T>
kernels::Upfirdn2d<T> kernel(Tensor& y, const Tensor& x, const Fir& p) {
  const size_t taps = p.taps.size();
  kernels::Upfirdn2d<T> k{y.mutable_as<T>(),
                          x.as<T>(),
                          x.dim(0),
                          x.dim(1),
                          x.dim(2),
                          x.dim(3),
                          y.dim(1),
                          y.dim(2),
                          p.up,
                          p.down,
                          p.pad_x0,
                          p.pad_y0,
                          static_cast<int>(taps),
                          static_cast<acc_t<T>>(p.gain),
                          {}};
  for (size_t i = 0; i < taps; ++i) k.f[i] = static_cast<acc_t<T>>(p.taps[taps - 1 - i]);
  return k;
}

}  // namespace

Tensor ops::record_upfirdn2d(const Tensor& y, const Tensor& x, const Fir& p) {
  const Fir q = adjoint(p, x.shape(), y.shape());
  return record({"upfirdn2d", p}, y, {x},
                [q](std::vector<Tensor> parts, const Tensor&, const Wanted&) -> std::vector<Tensor> {
                  const auto alone = parts.size() == 1 ? take<ConvInputGradient>(parts) : nullptr;
                  return {alone ? filter(*alone, q) : upfirdn2d(sum_of_parts(std::move(parts)), q)};
                });
}

Tensor upfirdn2d(const Tensor& x, Fir p) {
  Tensor y = x.like(ops::upfirdn2d_shape(x, p));
  dispatch(x.type(), [&](auto tag) { launch(x.stream(), kernel<decltype(tag)>(y, x, p)); });
  return ops::record_upfirdn2d(y, x, p);
}

Tensor upfirdn2d_bias_act(const Tensor& x, Fir p, const Tensor& b, BiasAct act) {
  const Shape shape = ops::upfirdn2d_shape(x, p);
  ops::check_bias_act(shape, x.type(), b, act);
  Tensor y = x.like(shape);
  const bool fused = !observed() && p.up == 1 && p.down == 1 && dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    using Then = kernels::Epilogue<acc_t<T>>;
    const auto k = kernel<T>(y, x, p);
    const Then then = ops::epilogue(b, act).as<acc_t<T>>();
    if (!x.stream().is_cuda) {
      // A rounded y tells less of d's gradient than a rounded x does, which a GPU puts up with for its speed.
      if (std::is_same_v<T, bf16> && act.d.wants_grad()) return false;
      run(x.stream(), kernels::Upfirdn2dRows<T, Then>{k, then});
      return true;
    }
    if constexpr (!std::is_same_v<T, double>) {
      if (!kernels::has_vectors(k)) return false;
      run(x.stream(), kernels::Upfirdn2dVectors<T, 1, 1, Then>{k, then});
      return true;
    }
    return false;
  });
  if (!fused) return bias_act(upfirdn2d(x, p), b, act);
  const Tensor z = ops::record_upfirdn2d(Tensor::without_storage(shape, x.type(), x.device()), x, p);
  return ops::record_bias_act(y, z, b, act);
}

Tensor upsample2d(const Tensor& x) {
  return upfirdn2d(x, {.up = 2, .pad_x0 = 2, .pad_x1 = 1, .pad_y0 = 2, .pad_y1 = 1, .gain = 4});
}

Tensor downsample2d(const Tensor& x) {
  return upfirdn2d(x, {.down = 2, .pad_x0 = 1, .pad_x1 = 1, .pad_y0 = 1, .pad_y1 = 1});
}

}  // namespace firn
