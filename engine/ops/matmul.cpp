// Products of matrices; NN, NT and TN are closed under differentiation.
#include "base/error.h"
#include "engine/ops.h"
#include "engine/ops/operands.h"
#include "engine/ops/recorded.h"
#include "kernels/gemm/gemm.h"

namespace firn {

namespace {

Shape with_batch(const Tensor& t) {
  Shape s = t.shape();
  if (s.size() == 2) s.insert(s.begin(), 1);
  return s;
}

// A gradient for an operand: summed over the batch where the operand was shared, in the operand's shape and type.
Tensor shared_sum(const Tensor& g, const Shape& shape, DType type) {
  if (g.shape() == shape) return cast(g, type);
  Shape kept = g.shape();
  if (shape.size() == 2 || shape[0] == 1) kept[0] = 1;
  return cast(reshape(sum_to(g, kept), shape), type);
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, Matmul p) {
  ops::require("matmul", "a", a, ops::kMatrices);
  ops::require("matmul", "b", b, ops::kMatrices);
  const Shape sa = with_batch(a), sb = with_batch(b);
  const bool batches = sa[0] == sb[0] || sa[0] == 1 || sb[0] == 1;
  if (!batches || a.type() != b.type() || (p.trans_a && p.trans_b) || sa[p.trans_a ? 1 : 2] != sb[p.trans_b ? 2 : 1])
    throw ShapeError(fmt::format("matmul: {}{} {} and {}{} {} do not fit", to_string(a.shape()), p.trans_a ? "^T" : "",
                                 name_of(a.type()), to_string(b.shape()), p.trans_b ? "^T" : "", name_of(b.type())));
  const int64_t batch = std::max(sa[0], sb[0]);
  kernels::GemmProblem q{batch,
                         sa[p.trans_a ? 2 : 1],
                         sb[p.trans_b ? 1 : 2],
                         sa[p.trans_a ? 1 : 2],
                         p.trans_a,
                         p.trans_b,
                         sa[0] == 1,
                         sb[0] == 1,
                         p.alpha,
                         a.type(),
                         p.wide_output ? acc_type(a.type()) : a.type()};
  if (q.share_b && !q.share_a && !q.trans_a) {  // one matrix on the right: the batch is just more rows
    q.M *= q.batch;
    q.batch = 1;
    q.share_a = true;
  }
  const bool plain = a.rank() == 2 && b.rank() == 2;
  const int64_t M = sa[p.trans_a ? 2 : 1];
  Tensor y = a.like(plain ? Shape{M, q.N} : Shape{batch, M, q.N}, q.y_type);
  kernels::gemm(a.stream(), q, y.mutable_data(), a.data(), b.data());

  return ops::record_matmul(y, a, b, p);
}

Tensor ops::record_matmul(const Tensor& y, const Tensor& a, const Tensor& b, const Matmul& p) {
  // op(a) op(b) = y:  d op(a) = gy op(b)^T and d op(b) = op(a)^T gy, each in one of the three forms.
  const GradFn grad_a = [b, p, shape = a.shape(), type = a.type()](const Tensor& gy, const Tensor&) {
    const Tensor g = cast(gy, type);
    return shared_sum(p.trans_a ? matmul(b, g, {.trans_b = true, .alpha = p.alpha})
                                : matmul(g, b, {.trans_b = !p.trans_b, .alpha = p.alpha}),
                      shape, type);
  };
  // TrainedRows of weights [O,I] are columns of gy [N,O].
  const TrainedRowsPtr rows = p.trans_b && b.rank() == 2 ? rows_of(b) : nullptr;
  const GradFn grad_b = [a, p, rows, shape = b.shape(), type = b.type()](const Tensor& gy, const Tensor&) {
    const Tensor g = cast(gy, type);
    if (rows) {
      const Tensor some = pick_channels(g, rows->index, rows->back);
      return shared_sum(matmul(some, a, {.trans_a = true, .alpha = p.alpha, .wide_output = true}),
                        {rows->count(), shape[1]}, type);
    }
    return shared_sum(p.trans_b ? matmul(g, a, {.trans_a = true, .alpha = p.alpha, .wide_output = true})
                                : matmul(a, g, {.trans_a = !p.trans_a, .alpha = p.alpha, .wide_output = true}),
                      shape, type);
  };
  return record({"matmul", p}, y, {{a, grad_a}, {b, grad_b}});
}

}  // namespace firn
