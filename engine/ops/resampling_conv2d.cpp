// Layers that resample, in one kernel where a provider has one that is no slower than their parts. On the tape they are
// always their parts, as in styled_conv2d.cpp.
#include <optional>

#include "engine/observer.h"
#include "engine/ops.h"
#include "engine/ops/deferred.h"
#include "engine/ops/recorded.h"
#include "kernels/styled/styled_conv.h"

namespace firn {

namespace {

// Four taps along each axis, padded by so much on all sides.
std::optional<kernels::Taps> taps_of(const Fir& p, int pad) {
  if (p.taps.size() != 4 || p.up != 1 || p.down != 1 || p.pad_x0 != pad || p.pad_x1 != pad || p.pad_y0 != pad ||
      p.pad_y1 != pad)
    return {};
  kernels::Taps f;
  for (size_t i = 0; i < 4; ++i) {
    f.y[i] = static_cast<float>(p.taps[3 - i]);
    f.x[i] = static_cast<float>(p.gain * p.taps[3 - i]);
  }
  return f;
}

kernels::InSteps in_rehearsal(const std::function<Tensor()>& f) {
  return [f] {
    const NoGrad scope;
    const auto y = std::make_shared<Tensor>(f());
    return std::shared_ptr<const void>(y, y->data());
  };
}

}  // namespace

Tensor styled_conv2d_up(const Tensor& x, const Tensor& s, const Tensor& w, const Tensor& b, Conv2d conv, Fir fir,
                        BiasAct act) {
  const auto scaled = [x, s] { return s.defined() ? scale_channels(x, s) : x; };
  const auto in_steps = [=] {
    const Tensor z = conv2d(scaled(), w, conv);
    return upfirdn2d_bias_act(z, fir, b, act);
  };
  const auto nowhere = [&](const Shape& of) { return Tensor::without_storage(of, x.type(), x.device()); };
  const Shape big = ops::conv2d_shape(x, w, conv);
  const kernels::ConvProblem problem = ops::conv2d_problem(x.shape(), big, w.shape(), conv, x.type());
  const std::optional<kernels::Taps> taps = taps_of(fir, 1);
  if (observed() || !conv.transposed || !taps || !kernels::has_styled_conv_up(x.stream(), problem)) return in_steps();

  const Shape shape = ops::upfirdn2d_shape(nowhere(big), fir);
  ops::check_bias_act(shape, x.type(), b, act);
  if (s.defined()) ops::check_scale_channels(x, s);
  Tensor y = x.like(shape);
  if (!kernels::styled_conv_up(x.stream(), problem, *taps, ops::epilogue(b, act), y.mutable_data(), x.data(),
                               ops::data_or_null(s), w.data(), w.weight_cache(), in_rehearsal(in_steps))) {
    y = {};
    return in_steps();
  }
  const Tensor u = s.defined() ? ops::record_scale_channels(nowhere(x.shape()), x, s) : x;
  const Tensor z =
      ops::record_conv2d(nowhere(big), u, w, conv, s.defined() ? ops::values_of(u, scaled) : std::function<Tensor()>{});
  const Tensor t = ops::record_upfirdn2d(nowhere(shape), z, fir);
  return ops::record_bias_act(y, t, b, act);
}

Tensor conv2d_down(Tensor x, const Tensor& w, const Tensor& b, Fir fir, Conv2d conv, BiasAct act) {
  const auto in_steps = [=](Tensor image) {
    const Tensor filtered = upfirdn2d(std::exchange(image, {}), fir);
    return styled_conv2d(filtered, {}, w, b, conv, act);
  };
  const auto nowhere = [&](const Shape& of) { return Tensor::without_storage(of, x.type(), x.device()); };
  const Tensor u = nowhere(ops::upfirdn2d_shape(x, fir));
  const Shape shape = ops::conv2d_shape(u, w, conv);
  const kernels::ConvProblem problem = ops::conv2d_problem(u.shape(), shape, w.shape(), conv, x.type());
  const std::optional<kernels::Taps> taps = taps_of(fir, 2);
  // A weight gradient takes the filtered image, so one is kept where there will be one.
  const bool weight_gradient = is_recording() && w.wants_grad();
  if (observed() || conv.transposed || !taps || weight_gradient || !kernels::has_styled_conv_down(x.stream(), problem))
    return in_steps(std::move(x));

  ops::check_bias_act(shape, x.type(), b, act);
  Tensor y = x.like(shape);
  if (!kernels::styled_conv_down(x.stream(), problem, *taps, ops::epilogue(b, act), y.mutable_data(), x.data(),
                                 w.data(), w.weight_cache(), in_rehearsal([&] { return in_steps(x); }))) {
    y = {};
    return in_steps(std::move(x));
  }
  const auto filtered = [x, fir] { return upfirdn2d(x, fir); };
  const Tensor v = ops::record_upfirdn2d(u, x, fir),
               z = ops::record_conv2d(nowhere(shape), v, w, conv, ops::values_of(v, filtered));
  return ops::record_bias_act(y, z, b, act);
}

Tensor ops::filter(ConvInputGradient& g, const Fir& p) {
  const kernels::ConvProblem problem = conv2d_problem(g.x_shape, g.gy.shape(), g.w.shape(), g.p, g.gy.type());
  const std::optional<kernels::Taps> taps = taps_of(p, 1);
  Tensor y;
  const auto in_one = [&] {
    y = g.gy.like(upfirdn2d_shape(Tensor::without_storage(g.x_shape, g.gy.type(), g.gy.device()), p));
    return kernels::styled_conv_up(g.gy.stream(), problem, *taps, {}, y.mutable_data(), g.gy.data(), nullptr,
                                   g.w.data(), g.w.weight_cache(),
                                   in_rehearsal([&] { return upfirdn2d(g.make(), p); }));
  };
  if (taps && kernels::has_styled_conv_up(g.gy.stream(), problem) && in_one()) return y;
  y = {};
  y = g.make();
  g.gy = {};
  return upfirdn2d(y, p);
}

}  // namespace firn
