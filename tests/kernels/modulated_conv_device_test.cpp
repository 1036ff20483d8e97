// The modulated convolution on a GPU against double on the host. tests/ptx runs the same tests on its interpreter.
#ifdef FIRN_CUDA
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "kernels/device/memory.h"
#include "kernels/styled/conv_down.h"
#include "kernels/styled/modulated_conv_sm90.h"
#include "tests/kernels/modulated_conv_check.h"

namespace firn::tests {
namespace {

using kernels::ConvTile;
using kernels::ModulatedConvProblem;

class ModulatedConvTest : public testing::TestWithParam<ModulatedConvCase> {};

TEST_P(ModulatedConvTest, MatchesDouble) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  const ModulatedConvCase& c = GetParam();
  if (c.by == c.same_sm90 && !kernels::has_modulated_conv_sm90(kernels::cuda_stream(0)))
    GTEST_SKIP() << "this GPU or build has no sm_90a";
  const LaunchCounter launches;
  EXPECT_LT(modulated_conv_error(c), 1);
  EXPECT_EQ(launches[c.kernel()], 1);
}

INSTANTIATE_TEST_SUITE_P(Cases, ModulatedConvTest, testing::ValuesIn(modulated_conv_cases()),
                         [](const auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(Smallest, ModulatedConvTest, testing::ValuesIn(smallest_modulated_conv_cases()),
                         [](const auto& info) { return info.param.name; });

// <conv(x, w), g> = <x, conv(g, w flipped and transposed)>: exact, since all numbers are small integers.
TEST(ModulatedConv, FlippedWeightsGiveTheInputGradient) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  const ModulatedConvProblem forward{.N = 2, .H = 5, .W = 6, .I = 32, .O = 64, .K = 3};
  const ModulatedConvProblem backward{.N = 2, .H = 5, .W = 6, .I = 64, .O = 32, .K = 3};
  std::mt19937 random(5);
  const auto signs = [&](int64_t count) {
    std::vector<bf16> v(static_cast<size_t>(count));
    for (bf16& s : v) s = bf16(float(int(random() % 3) - 1));
    return v;
  };
  const std::vector<bf16> x = signs(2 * 5 * 6 * 32), g = signs(2 * 5 * 6 * 64), w = signs(64 * 9 * 32);
  std::vector<bf16> flipped(w.size());
  for (size_t o = 0; o < 64; ++o)
    for (size_t k = 0; k < 9; ++k)
      for (size_t i = 0; i < 32; ++i) flipped[(i * 9 + 8 - k) * 64 + o] = w[(o * 9 + k) * 32 + i];
  const auto dot = [](const std::vector<bf16>& a, const std::vector<bf16>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += double(float(a[i])) * float(b[i]);
    return sum;
  };
  const double there = dot(plain_conv(forward, x, w), g), back = dot(x, plain_conv(backward, g, flipped));
  EXPECT_EQ(there, back);
  EXPECT_NE(there, 0);
}

TEST(ModulatedConv, SaysWhatItCannotDo) {
  const ModulatedConvProblem good{.N = 2, .H = 4, .W = 4, .I = 512, .O = 512, .K = 3};
  EXPECT_TRUE(kernels::fits(good));
  const auto with = [&](auto change) {
    ModulatedConvProblem p = good;
    change(p);
    return p;
  };
  for (const ModulatedConvProblem& bad :
       {with([](auto& p) { p.I = 48; }), with([](auto& p) { p.O = 12; }), with([](auto& p) { p.K = 2; }),
        with([](auto& p) { p.N = 1 << 28; }), with([](auto& p) { p.H = p.W = 1, p.N = 64, p.I = 1024; })})
    EXPECT_FALSE(kernels::fits(bad));
  // Each of the 128 samples of a tile has its scales, for which a block's shared memory has no room.
  const ModulatedConvProblem points = with([](auto& p) { p.H = p.W = 1; });
  EXPECT_TRUE(kernels::fits(points));
  EXPECT_FALSE(kernels::fits(points, ConvTile::m128n128));
  EXPECT_THROW(kernels::modulated_conv({}, with([](auto& p) { p.I = 48; }), {}), ShapeError);
  EXPECT_TRUE(kernels::fits_sm90(good));
  EXPECT_TRUE(kernels::fits_sm90(points));  // a tile takes fewer samples there
  for (const ModulatedConvProblem& bad :
       {with([](auto& p) { p.I = 96; }), with([](auto& p) { p.O = 12; }), with([](auto& p) { p.I = 4096; })})
    EXPECT_FALSE(kernels::fits_sm90(bad));
  EXPECT_TRUE(kernels::fits_up(good));
  EXPECT_TRUE(kernels::fits_down(good));
  for (const ModulatedConvProblem& bad : {with([](auto& p) { p.I = 48; }), with([](auto& p) { p.K = 1; }),
                                          with([](auto& p) { p.N = 64, p.H = p.W = 1024, p.I = 256, p.O = 64; })}) {
    EXPECT_FALSE(kernels::fits_up(bad));
    EXPECT_FALSE(kernels::fits_down(bad));
  }
  // x has a quarter of the pixels here and four times as many there.
  const ModulatedConvProblem large = with([](auto& p) { p.N = 32, p.H = p.W = 512, p.I = 128, p.O = 64; });
  EXPECT_TRUE(kernels::fits_up(large));
  EXPECT_FALSE(kernels::fits_down(large));
  EXPECT_FALSE(kernels::fits_up(with([](auto& p) { p.H = 5; })));
  EXPECT_FALSE(kernels::fits_up(with([](auto& p) { p.W = 5; })));
  EXPECT_THROW(kernels::modulated_conv_up({}, with([](auto& p) { p.H = 5; }), {}, {}), ShapeError);
  EXPECT_THROW(kernels::conv_down({}, with([](auto& p) { p.K = 1; }), {}, {}), ShapeError);
  const float scales = 1;
  EXPECT_THROW(kernels::conv_down({}, good, {}, {.s = &scales}), ShapeError);
  alignas(16) const bf16 more{};
  EXPECT_THROW(kernels::modulated_conv_up({}, good, {}, {.then = {.addend = &more}}), ShapeError);
  EXPECT_THROW(kernels::modulated_conv_sm90({}, with([](auto& p) { p.I = 96; }), {}), ShapeError);
}

TEST(ModulatedConv, RunsOnAGpuOnly) {
  EXPECT_THROW(kernels::modulated_conv({}, {.N = 1, .H = 4, .W = 4, .I = 32, .O = 8, .K = 1}, {}), DeviceError);
}

}  // namespace
}  // namespace firn::tests
#endif
