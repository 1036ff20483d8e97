// The modulated convolution on a GPU against double on the host. tests/ptx runs the same tests on its interpreter.
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/memory.h"
#include "tests/modulated_conv_check.h"

namespace firn::tests {
namespace {

using kernels::ConvTile;
using kernels::ModulatedConvProblem;

class ModulatedConvTest : public testing::TestWithParam<ModulatedConvCase> {};

TEST_P(ModulatedConvTest, MatchesDouble) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  const LaunchCounter launches;
  EXPECT_LT(modulated_conv_error(GetParam()), 1);
  EXPECT_EQ(launches["modulated_conv"], 1);
}

INSTANTIATE_TEST_SUITE_P(Cases, ModulatedConvTest, testing::ValuesIn(modulated_conv_cases()),
                         [](const auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(Smallest, ModulatedConvTest, testing::ValuesIn(smallest_modulated_conv_cases()),
                         [](const auto& info) { return info.param.name; });

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
}

TEST(ModulatedConv, RunsOnAGpuOnly) {
  EXPECT_THROW(kernels::modulated_conv({}, {.N = 1, .H = 4, .W = 4, .I = 32, .O = 8, .K = 1}, {}), DeviceError);
}

}  // namespace
}  // namespace firn::tests
