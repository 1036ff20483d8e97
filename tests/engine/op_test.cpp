// Every op: gradients of first and second order against finite differences in double; lower precision against double.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/engine/op_check.h"

namespace firn::tests {
namespace {

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
  EXPECT_LT(gradient_error([&](const auto& in) { return directional_derivative(c, in); }, inputs_of(c)), kTolerance);
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

// The clamp as a residual block scales it is not a bf16 number: what is stored is its neighbour.
TEST(BiasActTest, ClampedUnitsPassNoGradientInBf16) {
  const Tensor x = Tensor::full({1, 1, 1, 4}, 1e4, DType::bf16, Device::cpu()).require_grad();
  const Tensor b = Tensor::zeros({4}, DType::f32, Device::cpu());
  const Tensor y = bias_act(x, b, lrelu(1, 256 * std::sqrt(0.5)));
  for (const double g : grad(sum(y), {x})[0].to_doubles()) EXPECT_EQ(g, 0);
}

// More rows than one block has, and channels that are no whole number of vectors.
TEST(BiasActTest, OnePassMakesTheGradientsThatOpsMake) {
  for (const auto& [type, tolerance] : {std::pair{DType::f64, 1e-11}, {DType::f32, 3e-5}, {DType::bf16, 2e-2}}) {
    Rng rng{.seed = 9};
    const Device device = Device::cpu();
    const DType wide = acc_type(type);
    const auto leaf = [&](const Shape& shape, DType t) { return randn(shape, rng, t, device).require_grad(); };
    const Tensor x = leaf({2, 12, 11, 246}, type), s = leaf({2, 246}, wide), b = leaf({246}, wide);
    BiasAct p = lrelu(1.5, 3.5);
    p.d = (square(randn({2, 246}, rng, wide, device)) + 0.5).require_grad();
    p.strength = leaf({}, wide);
    p.noise = randn({2, 12, 11}, rng, wide, device);
    const Tensor y = bias_act(x, b, p), all = scale_channels(y, s) + y * 0.5;
    const std::vector<Tensor> leaves{x, s, b, p.d, p.strength};
    const LaunchCounter launches;
    const std::vector<Tensor> one_pass = grad(sum(square(all)), leaves);
    EXPECT_EQ(launches["bias_act_backward"], 1);
    const std::vector<Tensor> ops = grad(sum(square(all)), leaves, {.create_graph = true});
    EXPECT_EQ(launches["bias_act_backward"], 1);
    for (size_t i = 0; i < leaves.size(); ++i) {
      const std::vector<double> got = one_pass[i].to_doubles(), expected = ops[i].to_doubles();
      double scale = 0, error = 0;
      for (size_t j = 0; j < got.size(); ++j) {
        scale = std::max(scale, std::abs(expected[j]));
        if (!(std::abs(got[j] - expected[j]) <= error)) error = std::abs(got[j] - expected[j]);
      }
      EXPECT_LE(error, tolerance * scale) << name_of(type) << " of leaf " << i;
    }
  }
}

TEST(GradientCheck, CatchesAWrongGradient) {
  const std::vector<Tensor> x{Tensor::from(std::vector<double>{1.0, -2.0, 0.5}, {3}, DType::f64, Device::cpu())};
  const Scalar f = [](const std::vector<Tensor>& in) { return sum(square(in[0])); };
  EXPECT_LT(gradient_error(f, x), 1e-8);
  EXPECT_GT(gradient_error(f, x, 1.001), 5e-4);
}

}  // namespace
}  // namespace firn::tests
