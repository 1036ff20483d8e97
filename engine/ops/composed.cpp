// Functions written in terms of other ops; their gradients of any order come for free.
#include "engine/observer.h"
#include "engine/ops.h"
#include "engine/ops/operands.h"
#include "engine/ops/recorded.h"

namespace firn {

Tensor ops::record_fused(const Op& op, const Tensor& y, const std::vector<Tensor>& inputs,
                         const std::function<Tensor()>& composed, const GradsFn& together, Keep keep) {
  if (observed()) return composed();
  return record(
      op, y, inputs,
      [=](std::vector<Tensor> parts, const Tensor& out, const Wanted& wanted) {
        if (!is_recording()) return together(std::move(parts), out, wanted);
        std::vector<Tensor> asked, all(inputs.size());
        for (size_t i = 0; i < all.size(); ++i)
          if (wanted[i]) asked.push_back(inputs[i]);
        std::vector<Tensor> found =
            grad(sum(mul(composed(), sum_of_parts(std::move(parts)))), asked, {.create_graph = true});
        for (size_t i = 0, next = 0; i < all.size(); ++i)
          if (wanted[i]) all[i] = std::move(found[next++]);
        return all;
      },
      keep);
}

Tensor relu(const Tensor& x) {
  if (x.rank() < 2) return reshape(relu(reshape(x, {-1, 1})), x.shape());  // bias_act has samples and channels
  return bias_act(x, {}, {.slope = 0});
}

Tensor normalize_2nd_moment(const Tensor& x) {
  ops::require("normalize_2nd_moment", "x", x, ops::kRows);
  return mul(x, rsqrt(mean_axes(square(x), {1}) + 1e-8));
}

Tensor demodulation(const Tensor& w, const Tensor& s) {
  ops::require("demodulation", "w", w, ops::kWeights);
  ops::require("demodulation", "s", s, ops::kRows);
  // Sum_k w^2 as a dot over the "pixels" k of w seen as [O,K*K,I].
  const Tensor taps = reshape(w, {w.dim(0), w.dim(1) * w.dim(2), w.dim(3)});
  return rsqrt(matmul(square(s), dot_pixels(taps, taps), {.trans_b = true}) + 1e-8);
}

}  // namespace firn
