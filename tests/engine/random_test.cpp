// Random tensors, and the optimiser's types and rate.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/adam.h"
#include "engine/ops.h"
#include "kernels/choice/provider_numerics.h"
#include "tests/io/io_support.h"
#include "training/step/feed.h"

namespace firn {
namespace {

TEST(Uniform, LiesBetweenItsBoundsAndFillsThem) {
  for (const DType type : {DType::f32, DType::bf16, DType::f64}) {
    Rng rng{.seed = 9};
    const std::vector<double> v = uniform({100, 100}, -2, 3, rng, type, Device::cpu()).to_doubles();
    const auto [least, most] = std::ranges::minmax(v);
    EXPECT_GE(least, -2);
    EXPECT_LE(most, type == DType::bf16 ? 3 : std::nextafter(3.0F, 0.0F));
    EXPECT_LT(least, -1.99);
    EXPECT_GT(most, 2.99);
    double sum = 0, squares = 0;
    for (const double x : v) sum += x - 0.5, squares += (x - 0.5) * (x - 0.5);
    EXPECT_NEAR(sum / 1e4, 0, 0.06);  // 4 standard errors of 5 / sqrt(12) / 100
    EXPECT_NEAR(squares / 1e4, 25.0 / 12, 0.08);
    EXPECT_EQ(rng.offset, 1u);
  }
  Rng rng{.seed = 9};
  EXPECT_EQ(uniform({2}, 1, 1, rng, DType::f32, Device::cpu()).to_floats(), (std::vector<float>{1, 1}));
  EXPECT_EQ(message_of<ShapeError>([&] { uniform({2}, 2, 1, rng, DType::f32, Device::cpu()); }),
            "uniform: nothing lies between 2 and 1");
  EXPECT_THROW(uniform({2}, 0, 1, rng, DType::i32, Device::cpu()), ShapeError);
}

TEST(Bf16, IsDrawnAndNotTakenForFloat) {
  Rng rng{.seed = 5}, same = rng;
  const std::vector<float> drawn = randn({70, 3}, rng, DType::bf16, Device::cpu()).to_floats();
  const std::vector<float> exact = randn({70, 3}, same, DType::f32, Device::cpu()).to_floats();
  for (size_t i = 0; i < exact.size(); ++i) EXPECT_EQ(drawn[i], float(bf16(exact[i]))) << i;
}

TEST(Bf16, IsNoTypeOfParametersOrOfWhatIsFed) {
  const Device cpu = Device::cpu();
  Parameters parameters;
  parameters.add(Parameter("w", Tensor::zeros({3}, DType::bf16, cpu)));
  EXPECT_EQ(message_of<ShapeError>([&] { Adam(parameters, {}); }),
            "Adam: w is bf16; expected f32 or f64, the same of all");
  EXPECT_THROW(update_average(parameters, parameters, 0.5), ShapeError);
  EXPECT_EQ(message_of<ShapeError>([&] {
              ImageFeed({1, 2, 2, 3}, DType::bf16, cpu);
            }),
            "expected f32 or f64, got bf16");
  EXPECT_THROW(ResidentImages({1, 2, 2, 3}, 4, DType::bf16, cpu), ShapeError);
  EXPECT_THROW(one_hot(Tensor::from(std::vector<int>{1}, {1}, cpu), 2, DType::bf16), ShapeError);
  EXPECT_THROW(ImageFeed({2, 2, 3}, DType::f32, cpu), ShapeError);
}

TEST(Adam, TakesTheRateThatIsSet) {
  Parameters parameters;
  parameters.add(Parameter("w", Tensor::zeros({2}, DType::f64, Device::cpu())));
  Adam adam(parameters, {.lr = 1});
  const Tensor g = Tensor::full({2}, 4, DType::f64, Device::cpu());
  adam.step({g});
  EXPECT_NEAR(parameters[0].value().to_doubles()[0], -1, 1e-8);
  adam.set_lr(0.25);
  adam.step({g});
  EXPECT_NEAR(parameters[0].value().to_doubles()[0], -1.25, 1e-8);
  EXPECT_EQ(adam.lr(), 0.25);
}

TEST(Devices, CarryThePrecisionOfTheirLibraries) {
  const Device plain = Device::dry(), fast = plain.with({.activations = DType::bf16}),
               exact = fast.with({.deterministic = true});
  const auto of = [](const Device& d) { return kernels::numerics(d.stream()); };
  EXPECT_EQ(of(plain), kernels::initial_numerics());
  EXPECT_TRUE(of(fast).tf32 && !of(fast).deterministic);
  EXPECT_TRUE(!of(exact).tf32 && of(exact).deterministic);
  EXPECT_TRUE(of(plain.with({.tf32 = true})).tf32);
  EXPECT_EQ(plain, fast);
  EXPECT_TRUE(of(Tensor::zeros({2}, DType::f32, fast).like().device()).tf32)
      << "what is made from a tensor inherits it";
}

}  // namespace
}  // namespace firn
