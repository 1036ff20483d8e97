// Attention, as products of matrices and softmax. Between forward and backward nothing is held but q, k and v.
#include <cmath>

#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/operands.h"
#include "engine/ops/recorded.h"

namespace firn {

namespace {

// [N,T,heads d] -> [N heads,T,d], and back.
Tensor split(const Tensor& x, int64_t heads) {
  const int64_t N = x.dim(0), T = x.dim(1), d = x.dim(2) / heads;
  return reshape(permute(reshape(x, {N, T, heads, d}), {0, 2, 1, 3}), {N * heads, T, d});
}

Tensor join(const Tensor& x, int64_t heads) {
  const int64_t N = x.dim(0) / heads, T = x.dim(1), d = x.dim(2);
  return reshape(permute(reshape(x, {N, heads, T, d}), {0, 2, 1, 3}), {N, T, heads * d});
}

double scale_of(const Tensor& q) { return 1 / std::sqrt(double(q.dim(2))); }

// Of heads that are split, as f32 (f64): [N heads,T,S].
Tensor weights(const Tensor& q, const Tensor& k, const Tensor& bias) {
  const Tensor scores = matmul(q, k, {.trans_b = true, .alpha = scale_of(q), .wide_output = true});
  if (!bias.defined()) return softmax(scores);
  const Shape each{-1, bias.dim(0), bias.dim(1), bias.dim(2), bias.dim(3)};
  return reshape(softmax(reshape(scores, each) + bias), scores.shape());
}

Tensor by_ops(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, const Tensor& bias) {
  const Tensor p = weights(split(q, heads), split(k, heads), bias);
  return join(matmul(cast(p, v.type()), split(v, heads)), heads);
}

std::vector<Tensor> backward(const Tensor& gy, const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads,
                             const Tensor& bias, const Wanted& wanted) {
  std::vector<Tensor> all(3);
  const Tensor qs = split(q, heads), ks = split(k, heads), g = split(gy, heads), p = weights(qs, ks, bias);
  if (wanted[2]) all[2] = join(matmul(cast(p, v.type()), g, {.trans_a = true}), heads);
  if (!wanted[0] && !wanted[1]) return all;
  const Tensor gp = matmul(g, split(v, heads), {.trans_b = true, .wide_output = true});
  const Tensor scores = cast(ops::softmax_grad(gp, p), q.type());
  if (wanted[0]) all[0] = join(matmul(scores, ks, {.alpha = scale_of(qs)}), heads);
  if (wanted[1]) all[1] = join(matmul(scores, qs, {.trans_a = true, .alpha = scale_of(qs)}), heads);
  return all;
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, int64_t heads, const Tensor& bias) {
  constexpr ops::Axes tokens{3, 3, "[N,T,C]"};
  ops::require("attention", "q", q, tokens);
  ops::require("attention", "k", k, tokens);
  ops::require("attention", "v", v, tokens);
  if (heads < 1 || q.dim(2) % heads != 0 || k.shape() != Shape{q.dim(0), k.dim(1), q.dim(2)} ||
      v.shape() != k.shape() || k.type() != q.type() || v.type() != q.type())
    throw ShapeError(fmt::format("attention: q {} {}, k {} {} and v {} {} do not fit, or not {} heads",
                                 to_string(q.shape()), name_of(q.type()), to_string(k.shape()), name_of(k.type()),
                                 to_string(v.shape()), name_of(v.type()), heads));
  if (bias.defined() && (bias.rank() != 4 || bias.dim(0) < 1 || q.dim(0) % bias.dim(0) != 0 ||
                         bias.shape() != Shape{bias.dim(0), heads, q.dim(1), k.dim(1)} ||
                         bias.type() != acc_type(q.type()) || bias.wants_grad()))
    throw ShapeError(fmt::format("attention: a bias {} {} does not fit q {} and k {} of {} heads, or wants a gradient",
                                 to_string(bias.shape()), name_of(bias.type()), to_string(q.shape()),
                                 to_string(k.shape()), heads));
  Tensor y;
  {
    const NoGrad inner;
    y = by_ops(q, k, v, heads, bias);
  }
  return ops::record_fused(
      "attention", y, {q, k, v}, [=] { return by_ops(q, k, v, heads, bias); },
      [=](std::vector<Tensor> parts, const Tensor&, const Wanted& wanted) {
        return backward(sum_of_parts(std::move(parts)), q, k, v, heads, bias, wanted);
      });
}

}  // namespace firn
