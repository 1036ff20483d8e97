#include "tests/engine/op_check.h"

#include <cmath>

namespace firn::tests {

std::vector<Tensor> inputs_of(const OpCase& c, DType type, const Device& device) {
  Rng rng{.seed = 7};
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < c.shapes.size(); ++i) {
    std::vector<double> v = randn(c.shapes[i], rng, DType::f64, Device::cpu()).to_doubles();
    if (c.domain)
      for (double& x : v) x = c.domain(x);
    for (double& x : v) x = float(bf16(float(x)));
    const DType t = type == DType::bf16 && c.activations[i] == 'w' ? DType::f32 : type;
    inputs.push_back(Tensor::from(v, c.shapes[i], t, device));
  }
  return inputs;
}

std::vector<Tensor> as_leaves(const std::vector<Tensor>& inputs) {
  std::vector<Tensor> leaves;
  for (const Tensor& t : inputs) leaves.push_back(t.require_grad());
  return leaves;
}

Tensor weighted_sum(const Tensor& y, uint64_t seed) {
  Rng rng{.seed = seed};
  const std::vector<double> weights = randn(y.shape(), rng, DType::f64, Device::cpu()).to_doubles();
  return sum(mul(y, Tensor::from(weights, y.shape(), y.type(), y.device())));
}

Tensor directional_derivative(const OpCase& c, const std::vector<Tensor>& inputs) {
  // A numeric derivative evaluates this at moved points, which needs a tape of its own.
  std::vector<Tensor> leaves;
  for (const Tensor& t : inputs) leaves.push_back(t.wants_grad() ? t : t.require_grad());
  const Tensor y = c.fn(leaves);
  const std::vector<Tensor> g = grad(weighted_sum(cast(y, acc_type(y.type())), 11), leaves, {.create_graph = true});
  Tensor total = Tensor::zeros({}, acc_type(y.type()), y.device());
  for (size_t i = 0; i < g.size(); ++i) total = total + weighted_sum(cast(g[i], total.type()), 13 + i);
  // Keeps every input in the result, also those that the first derivative does not depend on.
  for (const Tensor& t : leaves) total = total + sum(cast(t, total.type())) * 1e-3;
  return total;
}

double precision_error(const OpCase& c, DType type, const Device& device, bool second_order) {
  const auto evaluate = [&](DType t, const Device& where) {
    const std::vector<Tensor> leaves = as_leaves(inputs_of(c, t, where));
    const Tensor y = c.fn(leaves);
    std::vector<Tensor> all{y};
    for (Tensor& g : grad(weighted_sum(cast(y, acc_type(t)), 11), leaves)) all.push_back(g);
    if (second_order)
      for (Tensor& g : grad(directional_derivative(c, leaves), leaves)) all.push_back(g);
    return all;
  };
  const auto exact = evaluate(DType::f64, Device::cpu()), low = evaluate(type, device);
  double worst = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    const auto e = exact[i].to_doubles(), l = low[i].to_doubles();
    double scale = 1e-6, error = 0;
    for (size_t j = 0; j < e.size(); ++j) {
      scale = std::max(scale, std::abs(e[j]));
      // Written so that a NaN counts.
      if (!(std::abs(e[j] - l[j]) <= error)) error = std::abs(e[j] - l[j]);
    }
    if (!(error / scale <= worst)) worst = error / scale;
  }
  return worst;
}

double device_tolerance(const OpCase& op, DType type) {
  const double tolerance = type == DType::f64 ? 1e-12 : type == DType::f32 ? 1e-5 : 3e-2;
  return std::max(tolerance, 4 * precision_error(op, type, Device::cpu(), true));
}

}  // namespace firn::tests
