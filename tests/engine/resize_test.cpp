// Resizing against PyTorch (tests/golden/resize.py).
#include <gtest/gtest.h>

#include "engine/ops.h"
#include "io/safetensors.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

TEST(ResizeOp, IsThatOfPyTorch) {
  const SafetensorsFile file = read_safetensors(std::filesystem::path(FIRN_TEST_DATA) / "golden/resize.safetensors");
  const StoredTensor& stored = file.at("image");
  std::vector<double> pixels;
  for (const std::byte b : stored.bytes) pixels.push_back(double(b));
  // f32 finds a source position to a few units of its last place, 1e-6 pixels, between pixels up to 255 apart.
  for (const auto& [dtype, tolerance] : {std::pair{DType::f64, 2e-5}, std::pair{DType::f32, 1e-3}}) {
    const Tensor image = Tensor::from(pixels, {1, stored.shape[0], stored.shape[1], 3}, dtype, Device::cpu());
    for (const auto& [how, name] :
         {std::pair{Resize::area, "torch area"}, {Resize::bilinear, "corners"}, {Resize::bicubic, "torch bicubic"}})
      for (const int size : {7, 31}) {
        const std::string key = fmt::format("{}.{}", name, size);
        const std::vector<float> expected = file.at(key).to_floats(), got = resize(image, size, size, how).to_floats();
        ASSERT_EQ(got.size(), expected.size());
        for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], tolerance) << key << " " << i;
      }
  }
}

TEST(ResizeOp, ToTheSameSizeChangesNothing) {
  Rng rng{.seed = 1};
  const Tensor x = randn({2, 3, 4, 2}, rng, DType::f32, Device::cpu());
  for (const Resize how : {Resize::area, Resize::bilinear, Resize::bicubic})
    EXPECT_EQ(resize(x, 3, 4, how).to_floats(), x.to_floats());
}

}  // namespace
}  // namespace firn
