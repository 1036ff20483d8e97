#include "kernels/ops/epilogue.h"

#include <gtest/gtest.h>

#include "kernels/core/types.h"

namespace firn::kernels {
namespace {

constexpr Epilogue<double> kAct{.slope = 0.2, .gain = 1.5, .clamp = 3};

TEST(Epilogue, ItsGradientIsThatOfWhatItGives) {
  for (const double t : {-20.0, -1.0, -0.01, 0.01, 1.0, 1.9, 2.1}) {
    const double numeric = (kAct.act(t + 1e-6) - kAct.act(t - 1e-6)) / 2e-6;
    EXPECT_NEAR(kAct.gradient(7.0, kAct.act(t)), 7 * numeric, 1e-6) << t;
  }
}

TEST(Epilogue, ANanStaysAndWhatIsClampedPassesNothing) {
  EXPECT_TRUE(std::isnan(kAct.act(NAN)));
  EXPECT_TRUE(std::isnan(kAct.gradient(double(NAN), 1.0)));
  EXPECT_EQ(kAct.gradient(double(INFINITY), 3.0), 0);
  EXPECT_EQ(Epilogue<double>{}.act(INFINITY), INFINITY);
}

TEST(Epilogue, TheClampIsThatOfWhatWasStored) {
  const Epilogue<float> act{.clamp = 3.001f};  // 3 in bf16
  EXPECT_EQ(act.gradient(1.0f, bf16(3.0f)), 0);
  EXPECT_EQ(act.gradient(1.0f, 3.0f), 1);
}

TEST(Epilogue, NoiseIsOfASampleOrOfAll) {
  const double noise[] = {1, 2, 3, 4}, strength = 10;
  Epilogue<double> e{.noise = noise, .strength = &strength, .noise_images = 2};
  EXPECT_EQ(e.noise_at(1, 2, 1), 40);
  e.noise_images = 1;
  EXPECT_EQ(e.noise_at(1, 2, 1), 20);
  EXPECT_EQ(Epilogue<double>{}.noise_at(1, 2, 1), 0);
}

}  // namespace
}  // namespace firn::kernels
