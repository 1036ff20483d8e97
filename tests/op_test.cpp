// Every op: gradients of first and second order against finite differences in double; lower precision against double.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/op_cases.h"

namespace firn::tests {
namespace {

std::vector<Tensor> inputs_of(const OpCase& c, DType type = DType::f64) {
  Rng rng{.seed = 7};
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < c.shapes.size(); ++i) {
    std::vector<double> v = randn(c.shapes[i], rng, DType::f64, Device::cpu()).to_doubles();
    if (c.domain)
      for (double& x : v) x = c.domain(x);
    // bf16 values are exact in every type, so that all types compute from the same inputs.
    for (double& x : v) x = float(bf16(float(x)));
    const DType t = type == DType::bf16 && c.activations[i] == 'w' ? DType::f32 : type;
    inputs.push_back(Tensor::from(v, c.shapes[i], t, Device::cpu()));
  }
  return inputs;
}

// A fixed random weighting of all outputs, so that no gradient hides behind symmetry.
Tensor weighted_sum(const Tensor& y, uint64_t seed) {
  Rng rng{.seed = seed};
  return sum(mul(y, randn(y.shape(), rng, y.type(), y.device())));
}

std::vector<Tensor> as_leaves(const std::vector<Tensor>& inputs) {
  std::vector<Tensor> leaves;
  for (const Tensor& t : inputs) leaves.push_back(t.require_grad());
  return leaves;
}

// Large inputs are checked at some forty places spread over them.
size_t probe_stride(size_t count) { return 1 + count / 40; }

using Scalar = std::function<Tensor(const std::vector<Tensor>&)>;

// The worst difference between grad(f) and central differences, relative to the largest gradient.
double gradient_error(const Scalar& f, const std::vector<Tensor>& inputs, double wrong_factor = 1) {
  const std::vector<Tensor> leaves = as_leaves(inputs);
  const std::vector<Tensor> analytic = grad(f(leaves), leaves);
  double worst = 0, scale = 1e-3;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::vector<double> a = analytic[i].to_doubles();
    std::vector<double> x = inputs[i].to_doubles();
    for (size_t j = 0; j < x.size(); j += probe_stride(x.size())) {
      const double h = 1e-5, saved = x[j];
      const auto at = [&](double v) {
        x[j] = v;
        std::vector<Tensor> moved = inputs;
        moved[i] = Tensor::from(x, inputs[i].shape(), DType::f64, Device::cpu());
        x[j] = saved;
        return f(moved).item();
      };
      const double numeric = (at(saved + h) - at(saved - h)) / (2 * h);
      worst = std::max(worst, std::abs(numeric - wrong_factor * a[j]));
      scale = std::max(scale, std::abs(numeric));
    }
  }
  return worst / scale;
}

class OpTest : public testing::TestWithParam<OpCase> {};

// Central differences in double with h = 1e-5 leave about 1e-10 of curvature and 1e-11 of rounding.
constexpr double kTolerance = 1e-7;

TEST_P(OpTest, Backward) {
  const OpCase& c = GetParam();
  EXPECT_LT(gradient_error([&](const auto& in) { return weighted_sum(c.fn(in), 11); }, inputs_of(c)), kTolerance);
}

TEST_P(OpTest, DoubleBackward) {
  const OpCase& c = GetParam();
  // h(x) = sum_i <df/dx_i, r_i>. Its numeric derivative evaluates grad(f) at moved points, which needs a tape of its
  // own.
  const auto h = [&](const std::vector<Tensor>& in) {
    std::vector<Tensor> leaves;
    for (const Tensor& t : in) leaves.push_back(t.wants_grad() ? t : t.require_grad());
    const Tensor f = weighted_sum(c.fn(leaves), 11);
    const auto g = grad(f, leaves, {.create_graph = true});
    Tensor total = weighted_sum(g[0], 13);
    for (size_t i = 1; i < g.size(); ++i) total = total + weighted_sum(g[i], 13 + i);
    // Keeps every input in the result, also those that the first derivative does not depend on.
    for (const Tensor& t : leaves) total = total + sum(t) * 1e-3;
    return total;
  };
  EXPECT_LT(gradient_error(h, inputs_of(c)), kTolerance);
}

// Largest |low - double| over values and gradients, relative to the largest |double| of the same tensor.
double precision_error(const OpCase& c, DType type) {
  const auto evaluate = [&](DType t) {
    const std::vector<Tensor> leaves = as_leaves(inputs_of(c, t));
    const Tensor y = c.fn(leaves);
    std::vector<Tensor> all{y};
    for (Tensor& g : grad(weighted_sum(cast(y, acc_type(t)), 11), leaves)) all.push_back(g);
    return all;
  };
  const auto exact = evaluate(DType::f64), low = evaluate(type);
  double worst = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    const auto e = exact[i].to_doubles(), l = low[i].to_doubles();
    double scale = 1e-6, error = 0;
    for (size_t j = 0; j < e.size(); ++j) {
      scale = std::max(scale, std::abs(e[j]));
      error = std::max(error, std::abs(e[j] - l[j]));
    }
    worst = std::max(worst, error / scale);
  }
  return worst;
}

// f32 rounds at 6e-8; sums of up to a few hundred terms and Winograd's transforms lose a factor of about 30.
TEST_P(OpTest, FloatMatchesDouble) { EXPECT_LT(precision_error(GetParam(), DType::f32), 5e-6); }

// bf16 rounds at 2^-9 = 2e-3, once for each stored tensor on the way (gradients pass through up to four).
class Bf16OpTest : public OpTest {};
TEST_P(Bf16OpTest, MatchesDouble) { EXPECT_LT(precision_error(GetParam(), DType::bf16), 1.6e-2); }

std::vector<OpCase> cases_with_bf16() {
  std::vector<OpCase> cases = op_cases();
  std::erase_if(cases, [](const OpCase& c) { return c.activations.empty(); });
  return cases;
}

const auto name_of_case = [](const auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(Ops, OpTest, testing::ValuesIn(op_cases()), name_of_case);
INSTANTIATE_TEST_SUITE_P(Ops, Bf16OpTest, testing::ValuesIn(cases_with_bf16()), name_of_case);

TEST(GradientCheck, CatchesAWrongGradient) {
  const std::vector<Tensor> x{Tensor::from(std::vector<double>{1.0, -2.0, 0.5}, {3}, DType::f64, Device::cpu())};
  const Scalar f = [](const std::vector<Tensor>& in) { return sum(square(in[0])); };
  EXPECT_LT(gradient_error(f, x), 1e-8);
  EXPECT_GT(gradient_error(f, x, 1.001), 5e-4);
}

}  // namespace
}  // namespace firn::tests
