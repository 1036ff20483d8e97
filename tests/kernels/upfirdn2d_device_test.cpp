// The resampling kernel for vectors of channels against the general one, on the CPU and on a GPU (or its interpreter).
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "engine/ops.h"
#include "kernels/device/memory.h"
#include "kernels/ops/upfirdn2d.h"

namespace firn {
namespace {

struct Problem {
  int up, down, pad;
  int64_t N, H, W, C;
};

void PrintTo(const Problem& p, std::ostream* out) { *out << "up " << p.up << " down " << p.down << " pad " << p.pad; }

class Upfirdn2dVectorsTest : public testing::TestWithParam<Problem> {
 protected:
  // The largest difference in parts of what rounding explains: the two kernels sum in different orders.
  template <class T, int up, int down>
  static double difference(const Problem& p, const Device& device) {
    const int64_t OH = (p.H * up + 2 * p.pad - 4) / down + 1, OW = (p.W * up + 2 * p.pad - 4) / down + 1;
    Rng rng{.seed = 3};
    const DType type = dtype_of<T>;
    const Tensor x = Tensor::from(randn({p.N, p.H, p.W, p.C}, rng, DType::f32, Device::cpu()).to_doubles(),
                                  {p.N, p.H, p.W, p.C}, type, device);
    std::vector<double> results[2];
    for (const bool vectors : {false, true}) {
      Tensor y = Tensor::full({p.N, OH, OW, p.C}, NAN, type, device);
      const kernels::Upfirdn2d<T> k{
          y.mutable_as<T>(),       x.as<T>(), p.N, p.H, p.W, p.C, OH, OW, up, down, p.pad, p.pad, 4, 2.0f,
          {0.1f, 0.5f, 0.3f, 0.2f}};
      if (vectors) {
        EXPECT_TRUE(kernels::has_vectors(k));
        run(x.stream(), kernels::Upfirdn2dVectors<T, up, down>{k});
      } else {
        run(x.stream(), k);
      }
      results[vectors] = y.to_doubles();
    }
    double worst = 0;
    for (size_t i = 0; i < results[0].size(); ++i) {
      const double rounding = type == DType::bf16 ? 0x1p-7 : 0x1p-21;  // the same sum may round up once, down once
      const double error = std::abs(results[0][i] - results[1][i]) / (rounding * std::abs(results[0][i]) + 0x1p-19);
      if (!(error <= worst)) worst = error;
    }
    return worst;
  }
  template <class T>
  static double difference(const Device& device) {
    const Problem& p = GetParam();
    return p.up == 2     ? difference<T, 2, 1>(p, device)
           : p.down == 2 ? difference<T, 1, 2>(p, device)
                         : difference<T, 1, 1>(p, device);
  }
};

TEST_P(Upfirdn2dVectorsTest, MatchesGeneralKernelOnCpu) {
  EXPECT_LE(difference<float>(Device::cpu()), 1);
  EXPECT_LE(difference<bf16>(Device::cpu()), 1);
}

#ifdef FIRN_CUDA
TEST_P(Upfirdn2dVectorsTest, MatchesGeneralKernelOnGpu) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  EXPECT_LE(difference<float>(Device::cuda()), 1);
  EXPECT_LE(difference<bf16>(Device::cuda()), 1);
}
#endif

// Odd and even paddings, crops, more rows than one strip and more columns than one block.
INSTANTIATE_TEST_SUITE_P(Cases, Upfirdn2dVectorsTest,
                         testing::Values(Problem{1, 1, 2, 2, 9, 5, 8}, Problem{1, 1, 1, 1, 4, 3, 24},
                                         Problem{1, 1, -1, 1, 7, 12, 8}, Problem{2, 1, 2, 2, 5, 4, 16},
                                         Problem{2, 1, 1, 1, 3, 6, 8}, Problem{2, 1, -1, 1, 7, 5, 8},
                                         Problem{1, 2, 1, 2, 6, 7, 16}, Problem{1, 2, 2, 1, 19, 5, 8},
                                         Problem{1, 2, -2, 1, 9, 12, 8}, Problem{1, 1, 2, 1, 2, 20, 128}));

#ifdef FIRN_CUDA
TEST(Upfirdn2d, ChannelsInVectorsTakeTheFastKernelOnAGpu) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  for (const int64_t C : {8, 12}) {
    const LaunchCounter launches;
    upsample2d(Tensor::full({1, 2, 2, C}, 1, DType::bf16, Device::cuda()));
    EXPECT_EQ(launches["upfirdn2d_vectors"], C == 8);
    EXPECT_EQ(launches["upfirdn2d"], C != 8);
  }
}
#endif

}  // namespace
}  // namespace firn
