// conv2d, conv2d_input_grad and conv2d_weight_grad define each other's gradients.
#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/deferred.h"
#include "engine/ops/operands.h"
#include "engine/ops/recorded.h"
#include "kernels/conv/conv.h"

namespace firn {

// The problem of a correlation from `big` to `small` with weights w. A transposed convolution is the adjoint of the one
// from its output to its input, whose weights it stores with the channel axes swapped.
kernels::ConvProblem ops::conv2d_problem(const Shape& x, const Shape& y, const Shape& w, const Conv2d& p, DType type) {
  const Shape& big = p.transposed ? y : x;
  const Shape& small = p.transposed ? x : y;
  return {.N = big[0],
          .H = big[1],
          .W = big[2],
          .I = big[3],
          .OH = small[1],
          .OW = small[2],
          .O = small[3],
          .KH = static_cast<int>(w[1]),
          .KW = static_cast<int>(w[2]),
          .stride = p.stride,
          .pad_y = p.pad,
          .pad_x = p.pad_x < 0 ? p.pad : p.pad_x,
          .swapped = p.transposed,
          .gain = p.gain,
          .type = type,
          .groups = p.groups};
}

namespace {

Shape output_shape(const Shape& x, const Shape& w, const Conv2d& p) {
  if (p.stride < 1 || p.pad < 0 || p.groups < 1 || p.behind < 0)
    throw ShapeError(fmt::format("conv2d: stride {}, pad {} (and {} behind) and groups {}; expected 1, 0 and 1 or more",
                                 p.stride, p.pad, p.behind, p.groups));
  if (x.size() != 4 || w.size() != 4 || x[3] != w[3] * p.groups || w[0] % p.groups || w[1] < 1 || w[2] < 1)
    throw ShapeError(fmt::format("conv2d: x {} and w {} do not fit; expected [N,H,W,I] and [O,KH,KW,I{}", to_string(x),
                                 to_string(w),
                                 p.groups > 1 ? fmt::format("/{}], O a multiple of {}", p.groups, p.groups) : "]"));
  const auto size = [&](int64_t n, int64_t window, int64_t pad) {
    const int64_t around = 2 * pad + p.behind;
    if (p.transposed) return (n - 1) * p.stride + window - around;
    return n + around < window ? 0 : (n + around - window) / p.stride + 1;
  };
  const Shape y{x[0], size(x[1], w[1], p.pad), size(x[2], w[2], p.pad_x < 0 ? p.pad : p.pad_x), w[0]};
  if (y[1] < 1 || y[2] < 1)
    throw ShapeError(fmt::format("conv2d: w {} is larger than x {}", to_string(w), to_string(x)));
  return y;
}

void check_operands(const char* op, const Tensor& x, const Tensor& w) {
  ops::require(op, "x", x, ops::kImages);
  ops::require(op, "w", w, ops::kWeights);
  if (w.type() != acc_type(x.type()))
    throw ShapeError(fmt::format("{}: {} activations need {} weights, got {}", op, name_of(x.type()),
                                 name_of(acc_type(x.type())), name_of(w.type())));
}

}  // namespace

Shape ops::conv2d_shape(const Tensor& x, const Tensor& w, const Conv2d& p) {
  check_operands("conv2d", x, w);
  return output_shape(x.shape(), w.shape(), p);
}

Tensor ops::conv2d_weight_grad_of(const TrainedRowsPtr& rows, const Tensor& x, const Tensor& gy, const Shape& w_shape,
                                  const Conv2d& p) {
  if (!rows || p.groups > 1) return conv2d_weight_grad(x, gy, w_shape, p);
  Shape shape = w_shape;
  shape[0] = rows->channels.count();
  const Tensor gw = conv2d_weight_grad(x, pick_channels(gy, rows->channels, rows->back), shape, p);
  return shape[0] == rows->count() ? gw : slice(gw, 0, 0, rows->count());
}

Tensor ops::record_conv2d(const Tensor& y, const Tensor& x, const Tensor& w, const Conv2d& p,
                          const std::function<Tensor()>& make_x) {
  const Tensor kept = make_x ? Tensor{} : x;
  // On a GPU the filter before it computes this gradient and its own in one pass.
  const bool defers = y.stream().is_cuda && y.type() == DType::bf16 && p.stride == 2 && !p.transposed;
  return record({"conv2d", p}, y,
                {{x,
                  [w, p, defers, shape = x.shape()](const Tensor& gy, const Tensor&) {
                    if (!defers || is_recording()) return conv2d_input_grad(gy, w, shape, p);
                    const auto g = std::make_shared<ConvInputGradient>();
                    g->gy = gy, g->w = w, g->x_shape = shape, g->p = p;
                    return Tensor::deferred(shape, gy.type(), gy.device(), g);
                  }},
                 {w, [kept, make_x, p, shape = w.shape(), rows = rows_of(w)](const Tensor& gy, const Tensor&) {
                    return conv2d_weight_grad_of(rows, make_x ? make_x() : kept, gy, shape, p);
                  }}});
}

Tensor ops::ConvInputGradient::make() { return conv2d_input_grad(gy, w, x_shape, p); }

Tensor conv2d(const Tensor& x, const Tensor& w, Conv2d p) {
  Tensor y = x.like(ops::conv2d_shape(x, w, p));
  const auto q = ops::conv2d_problem(x.shape(), y.shape(), w.shape(), p, x.type());
  (p.transposed ? kernels::conv_backward_data : kernels::conv_forward)(x.stream(), q, y.mutable_data(), x.data(),
                                                                       w.data(), w.weight_cache());
  return ops::record_conv2d(y, x, w, p, {});
}

Tensor conv2d_input_grad(const Tensor& gy, const Tensor& w, const Shape& x_shape, Conv2d p) {
  check_operands("conv2d_input_grad", gy, w);
  if (output_shape(x_shape, w.shape(), p) != gy.shape())
    throw ShapeError(fmt::format("conv2d_input_grad: gy {} does not belong to x {}, w {}", to_string(gy.shape()),
                                 to_string(x_shape), to_string(w.shape())));
  Tensor gx = gy.like(x_shape);
  const auto q = ops::conv2d_problem(x_shape, gy.shape(), w.shape(), p, gy.type());
  (p.transposed ? kernels::conv_forward : kernels::conv_backward_data)(gy.stream(), q, gx.mutable_data(), gy.data(),
                                                                       w.data(), w.weight_cache());
  return record("conv2d_input_grad", gx,
                {{gy, [w, p](const Tensor& ggx, const Tensor&) { return conv2d(ggx, w, p); }},
                 {w, [gy, p, shape = w.shape(), rows = rows_of(w)](const Tensor& ggx, const Tensor&) {
                    return ops::conv2d_weight_grad_of(rows, ggx, gy, shape, p);
                  }}});
}

Tensor conv2d_weight_grad(const Tensor& x, const Tensor& gy, const Shape& w_shape, Conv2d p) {
  ops::require("conv2d_weight_grad", "x", x, ops::kImages);
  if (output_shape(x.shape(), w_shape, p) != gy.shape() || x.type() != gy.type())
    throw ShapeError(fmt::format("conv2d_weight_grad: gy {} does not belong to x {}, w {}", to_string(gy.shape()),
                                 to_string(x.shape()), to_string(w_shape)));
  Tensor gw = x.like(w_shape, acc_type(x.type()));
  const auto q = ops::conv2d_problem(x.shape(), gy.shape(), w_shape, p, x.type());
  const Tensor &big = p.transposed ? gy : x, &small = p.transposed ? x : gy;
  kernels::conv_backward_weights(x.stream(), q, gw.mutable_data(), big.data(), small.data());
  return record("conv2d_weight_grad", gw,
                {{x, [gy, p, shape = x.shape()](const Tensor& ggw,
                                                const Tensor&) { return conv2d_input_grad(gy, ggw, shape, p); }},
                 {gy, [x, p](const Tensor& ggw, const Tensor&) { return conv2d(x, ggw, p); }}});
}

}  // namespace firn
