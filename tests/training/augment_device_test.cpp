// Augmentation on a GPU against the CPU, draws included. tests/ptx runs the same on its interpreter.
#ifdef FIRN_CUDA
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/device/memory.h"
#include "tests/training/training_support.h"
#include "training/augment/augment.h"

namespace firn {
namespace {

class DeviceAugment : public testing::TestWithParam<std::tuple<const char*, int, DType>> {
 protected:
  void SetUp() override {
    if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  }
};

struct Seen {
  std::vector<double> numbers, images, gradient;
};

Seen seen(const std::string& aug, int channels, DType type, const Device& device) {
  const ImageShape shape{.height = 9, .width = 12, .channels = channels};
  const Augment augment({.aug = aug, .pipe = "bgcfnc"}, shape, Tensor::full({1}, 0.8, type, device));
  Rng rng{.seed = 6};
  Inputs in;
  augment.draw(in, "x", 3, rng);
  const Tensor drawn = uniform({3, 9, 12, channels}, -1, 1, rng, DType::f64, Device::cpu());
  const Tensor x = Tensor::from(drawn.to_doubles(), drawn.shape(), type, device).require_grad();
  const Tensor y = augment(x, in, "x");
  return {in["x_numbers"].to_doubles(), y.to_doubles(), grad(sum(square(y)), {x})[0].to_doubles()};
}

TEST_P(DeviceAugment, DrawsAndDoesWhatTheCpuDoes) {
  const auto& [aug, channels, type] = GetParam();
  const Seen here = seen(aug, channels, type, Device::cpu()), there = seen(aug, channels, type, Device::cuda());
  const auto expect_near = [](const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
    ASSERT_EQ(a.size(), b.size());
    double scale = 1;
    for (const double v : a) scale = std::max(scale, std::abs(v));
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance * scale) << i;
  };
  expect_near(here.numbers, there.numbers, 1e-5);  // drawn in float for every type
  expect_near(here.images, there.images, 1e-3);
  expect_near(here.gradient, there.gradient, 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Augment, DeviceAugment,
                         testing::Combine(testing::Values("ada", "diffaug-color-translation-cutout"),
                                          testing::Values(1, 3), testing::Values(DType::f32, DType::f64)),
                         [](const auto& info) {
                           return fmt::format("{}_{}_{}",
                                              std::get<0>(info.param) == std::string("ada") ? "ada" : "diff",
                                              std::get<1>(info.param), name_of(std::get<2>(info.param)));
                         });

class DeviceAda : public testing::TestWithParam<DType> {};

TEST_P(DeviceAda, PMovesAsOnTheCpu) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  const auto p = [](const Device& device) {
    TrainOptions o = tiny_options({}, GetParam());
    o.augment = {.aug = "ada", .target = 0.25, .ada_kimg = 0.1};
    TrainState state(o, device);
    const Augment augment(o, state);
    std::vector<double> values;
    std::vector<Term> report;
    for (int i = 1; i <= 12; ++i) {
      const double real = i < 9 ? 1 : -1;
      augment.note(Tensor::from(std::vector<double>{real, -1, real, NAN, real}, {5, 1}, GetParam(), device), report);
      augment.iteration_ends(i, 5);
      values.push_back(state.scalar("augment_p").item());
    }
    return values;
  };
  const std::vector<double> here = p(Device::cpu());
  EXPECT_NEAR(here[7], 0.4, 1e-6);
  EXPECT_NEAR(here[11], 0.2, 1e-6);
  EXPECT_EQ(here, p(Device::cuda()));
}

INSTANTIATE_TEST_SUITE_P(Types, DeviceAda, testing::Values(DType::f32, DType::f64),
                         [](const auto& info) { return name_of(info.param); });

}  // namespace
}  // namespace firn
#endif
