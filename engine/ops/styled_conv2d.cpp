// A layer of a network as one op where a provider has it in fewer passes, and as its parts elsewhere. On the tape it is
// always its parts: what they would have stored between them is made again if a gradient needs it.
#include "engine/observer.h"
#include "engine/ops.h"
#include "engine/ops/recorded.h"
#include "kernels/gemm/gemm.h"
#include "kernels/styled/styled_conv.h"

namespace firn {

namespace {

// A 1x1 convolution of an image's few channels is a product of matrices; on a GPU one kernel with its activation. On
// the CPU two loops vectorise, and one of both does not.
Tensor thin_layer(const Tensor& x, const Tensor& w, const Tensor& b, double gain, const BiasAct& act) {
  const int64_t in = x.dim(3), out = w.dim(0), pixels = x.count() / in;
  const Shape shape{x.dim(0), x.dim(1), x.dim(2), out};
  ops::check_bias_act(shape, x.type(), b, act);
  const Tensor rows = reshape(x, {pixels, in}), columns = cast(reshape(w, {out, in}), x.type());
  const Matmul product{.trans_b = true, .alpha = gain};
  if (!x.stream().is_cuda) return bias_act(reshape(matmul(rows, columns, product), shape), b, act);
  Tensor y = x.like(shape);
  dispatch(x.type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    run(x.stream(), kernels::ThinExpand<T, T, kernels::Epilogue<A>>{.y = y.mutable_as<T>(),
                                                                    .x = rows.as<T>(),
                                                                    .w = columns.as<T>(),
                                                                    .batch = 1,
                                                                    .P = pixels,
                                                                    .C = out,
                                                                    .O = in,
                                                                    .share_w = true,
                                                                    .w_transposed = true,
                                                                    .alpha = static_cast<A>(gain),
                                                                    .then = ops::epilogue(b, act).as<A>()});
  });
  const Tensor z =
      ops::record_matmul(Tensor::without_storage({pixels, out}, x.type(), x.device()), rows, columns, product);
  return ops::record_bias_act(y, reshape(z, shape), b, act);
}

}  // namespace

Tensor styled_conv2d(const Tensor& x, const Tensor& s, const Tensor& w, const Tensor& b, Conv2d conv, BiasAct act) {
  const auto scaled = [x, s] { return s.defined() ? scale_channels(x, s) : x; };
  const Shape shape = ops::conv2d_shape(x, w, conv);
  const bool pointwise = w.dim(1) == 1 && w.dim(2) == 1 && conv.stride == 1 && shape[1] == x.dim(1) &&
                         shape[2] == x.dim(2) && conv.groups == 1 && !conv.transposed;
  if (!observed() && pointwise && x.dim(3) <= kernels::kThin && !s.defined() && !act.d.defined() &&
      !act.noise.defined())
    return thin_layer(x, w, b, conv.gain, act);
  const kernels::ConvProblem problem = ops::conv2d_problem(x.shape(), shape, w.shape(), conv, x.type());
  const kernels::Epilogue<> then = ops::epilogue(b, act);
  const bool plain = !s.defined() && kernels::has_conv_bias_act(x.stream(), problem, then);
  if (observed() || conv.transposed || !(plain || kernels::has_styled_conv(x.stream(), problem)))
    return bias_act(conv2d(scaled(), w, conv), b, act);

  ops::check_bias_act(shape, x.type(), b, act);
  if (s.defined()) ops::check_scale_channels(x, s);
  Tensor y = x.like(shape);
  if (plain)
    kernels::conv_bias_act(x.stream(), problem, then, y.mutable_data(), x.data(), w.data(), w.weight_cache());
  else
    kernels::styled_conv(x.stream(), problem, then, y.mutable_data(), x.data(), ops::data_or_null(s), w.data(),
                         w.weight_cache());

  const auto nowhere = [&](const Shape& of) { return Tensor::without_storage(of, x.type(), x.device()); };
  const Tensor u = s.defined() ? ops::record_scale_channels(nowhere(x.shape()), x, s) : x;
  const Tensor z = ops::record_conv2d(nowhere(shape), u, w, conv,
                                      s.defined() ? ops::values_of(u, scaled) : std::function<Tensor()>{});
  return ops::record_bias_act(y, z, b, act);
}

Tensor conv2d_add(const Tensor& x, const Tensor& w, Conv2d conv, const Tensor& addend) {
  const Shape shape = ops::conv2d_shape(x, w, conv);
  const kernels::ConvProblem problem = ops::conv2d_problem(x.shape(), shape, w.shape(), conv, x.type());
  if (observed() || conv.transposed || addend.shape() != shape || addend.type() != x.type() ||
      !kernels::has_styled_conv(x.stream(), problem))
    return conv2d(x, w, conv) + addend;
  Tensor y = x.like(shape);
  kernels::styled_conv(x.stream(), problem, {.addend = addend.data()}, y.mutable_data(), x.data(), nullptr, w.data(),
                       w.weight_cache());
  const Tensor z = ops::record_conv2d(Tensor::without_storage(shape, x.type(), x.device()), x, w, conv, {});
  const auto same = [](const Tensor& gy, const Tensor&) { return gy; };
  return record("add", y, {{z, same}, {addend, same}});
}

}  // namespace firn
