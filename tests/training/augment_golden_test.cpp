// Augmentation against tests/golden/augment.py: what becomes of images, gradients by them, and R1 through it with its
// gradients by images and by D's weights.
#include <gtest/gtest.h>

#include "base/text.h"
#include "io/safetensors.h"
#include "kernels/ops/affine_resample.h"
#include "training/augment/augment.h"

namespace firn {
namespace {

struct AugmentGolden : testing::TestWithParam<std::string> {
  SafetensorsFile file = read_safetensors(std::filesystem::path(FIRN_TEST_DATA) / "golden" / "augment.safetensors");
  double worst = 0;

  Tensor tensor(const std::string& name) const {
    const StoredTensor& t = file.at(GetParam() + "." + name);
    const Tensor x = Tensor::from(std::span<const double>(t.to_doubles()), t.shape, DType::f64, Device::cpu());
    return t.shape.size() == 4 ? permute(x, {0, 2, 3, 1}) : x;
  }

  void expect_near(const Tensor& actual, const std::string& name) {
    const std::vector<double> a = actual.to_doubles(), b = tensor(name).to_doubles();
    ASSERT_EQ(a.size(), b.size()) << name;
    double difference = 0, scale = 0;
    for (size_t i = 0; i < b.size(); ++i) {
      difference = std::max(difference, std::abs(a[i] - b[i]));
      scale = std::max(scale, std::abs(b[i]));
    }
    worst = std::max(worst, difference / scale);
    EXPECT_LE(difference, 1e-9 * scale) << name;
  }

  void expect_pipe(const Pipe& pipe, const std::string& numbers, const std::string& name) {
    const Tensor values = tensor(numbers), noise = pipe.has_noise() ? tensor("in.noise") : Tensor{};
    const Tensor x = tensor("in.images").require_grad(), w = tensor("in.weights").require_grad();
    const Tensor y = pipe.apply(x, values, noise);
    expect_near(y, name + ".out");
    expect_near(grad(sum(y * w.detach()), {x})[0], name + ".grad");
    const Tensor slopes = grad(sum(tanh(y * w)), {x}, {.create_graph = true})[0], r1 = sum(square(slopes));
    expect_near(r1, name + ".r1");
    const std::vector<Tensor> g = grad(r1, {w, x});
    expect_near(g[0], name + ".r1.grad.w");
    expect_near(g[1], name + ".r1.grad.x");
  }
  ~AugmentGolden() override { RecordProperty("worst_relative_error", fmt::format("{:.2g}", worst)); }
};

TEST_P(AugmentGolden, AllTransformsOfAdaMatch) {
  expect_pipe(*ada_pipe({.aug = "ada", .pipe = "bgcfnc"}), "in.ada", "ada");
}

TEST_P(AugmentGolden, DiffAugmentMatchesInAnyOrder) {
  for (const char* policy : {"color,translation,cutout", "cutout,color"})
    expect_pipe(*diff_augment(parts_of(policy, ',')), "in.diff", fmt::format("diff.{}", policy));
}

// All that can be reflected, and only as much as published code does of a batch.
TEST_P(AugmentGolden, WarpsMatch) {
  const Tensor x = tensor("in.images"), matrix = tensor("ada.matrix");
  expect_near(warp(x, matrix), "warp");
  const std::vector<double> margins = file.at(GetParam() + ".in.margins").to_doubles();
  expect_near(
      warp(x, matrix,
           {.left = int(margins[0]), .right = int(margins[2]), .top = int(margins[1]), .bottom = int(margins[3])}),
      "warp.published");
}

INSTANTIATE_TEST_SUITE_P(Augment, AugmentGolden, testing::Values("rgb_13x10", "grey_16x16", "rgb_8x24"),
                         [](const auto& info) { return info.param; });

// What a GPU does in place of adding to pixels from one thread of an image.
TEST(AugmentGather, IsTheSumOfTheScatter) {
  Rng rng{.seed = 2};
  const Tensor y = randn({3, 28, 24, 3}, rng, DType::f64, Device::cpu());
  for (const double size : {0.05, 0.4, 1.0, 2.5, 40.0})
    for (const int left : {6, 2}) {
      const Tensor matrix = randn({3, 2, 3}, rng, DType::f64, Device::cpu()) * size;
      Tensor gathered = y.like({3, 9, 7, 3}), scattered = gathered.like();
      kernels::AffineResample<double> k{
          const_cast<double*>(y.as<double>()), nullptr, matrix.as<double>(), 3, 3, {7, left, 6}, {9, 8, 8}, {}};
      for (int i = 0; i < k.taps; ++i) k.f[k.zeros + i] = 1 + i % 5;
      run(y.stream(), kernels::AffineGather<double>{k, gathered.mutable_as<double>()});
      run(y.stream(), kernels::AffineScatter<double>{k, scattered.mutable_as<double>()});
      const std::vector<double> a = gathered.to_doubles(), b = scattered.to_doubles();
      double largest = 0;
      for (const double v : b) largest = std::max(largest, std::abs(v));
      EXPECT_GT(largest, 0) << size;
      for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-11 * largest) << size << ' ' << i;
    }
}

}  // namespace
}  // namespace firn
