// A styled layer as one op where a provider has it in fewer passes, and as its parts elsewhere. On the tape it is
// always its parts: what they would have stored between them is made again if a gradient needs it.
#include "engine/ops.h"
#include "engine/ops/recorded.h"
#include "kernels/styled_conv.h"

namespace firn {

Tensor styled_conv2d(const Tensor& x, const Tensor& s, const Tensor& w, const Tensor& b, Conv2d conv, BiasAct act) {
  const auto scaled = [x, s] { return s.defined() ? scale_channels(x, s) : x; };
  const Shape shape = ops::conv2d_shape(x, w, conv);
  const kernels::ConvProblem problem = ops::conv2d_problem(x.shape(), shape, w.shape(), conv, x.type());
  if (conv.transposed || !kernels::has_styled_conv(x.stream(), problem))
    return bias_act(conv2d(scaled(), w, conv), b, act);

  ops::check_bias_act(shape, x.type(), b, act);
  if (s.defined()) ops::check_scale_channels(x, s);
  const auto data = [](const Tensor& t) { return t.defined() ? t.data() : nullptr; };
  Tensor y = x.like(shape);
  kernels::styled_conv(x.stream(), problem,
                       {.d = data(act.d),
                        .noise = data(act.noise),
                        .strength = data(act.strength),
                        .b = data(b),
                        .noise_images = act.noise.defined() ? act.noise.dim(0) : 1,
                        .slope = act.slope,
                        .gain = act.gain,
                        .clamp = act.clamp},
                       y.mutable_data(), x.data(), data(s), w.data(), w.weight_cache());

  const auto nowhere = [&](const Shape& of) { return Tensor::without_storage(of, x.type(), x.device()); };
  const Tensor u = s.defined() ? ops::record_scale_channels(nowhere(x.shape()), x, s) : x;
  const Tensor z = ops::record_conv2d(nowhere(shape), u, w, conv, s.defined() ? scaled : std::function<Tensor()>{});
  return ops::record_bias_act(y, z, b, act, [scaled, w, conv] { return conv2d(scaled(), w, conv); });
}

}  // namespace firn
