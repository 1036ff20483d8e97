// The resampling kernels for vectors of channels and for whole rows against the general one, on the CPU and on a GPU
// (or its interpreter).
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

class Upfirdn2dTest : public testing::TestWithParam<Problem> {
 protected:
  // The largest difference between the general kernel and `other`, in parts of what rounding explains: they sum in
  // different orders.
  template <class T, class Other>
  static double difference(const Device& device, int taps, Other other) {
    const Problem& p = GetParam();
    const int pad = p.pad + taps / 2 - 2;
    const int64_t OH = (p.H * p.up + 2 * pad - taps) / p.down + 1, OW = (p.W * p.up + 2 * pad - taps) / p.down + 1;
    Rng rng{.seed = 3};
    const DType type = dtype_of<T>;
    const Tensor x = Tensor::from(randn({p.N, p.H, p.W, p.C}, rng, DType::f32, Device::cpu()).to_doubles(),
                                  {p.N, p.H, p.W, p.C}, type, device);
    Tensor general = Tensor::full({p.N, OH, OW, p.C}, NAN, type, device), y = general * 1.0;
    kernels::Upfirdn2d<T> k{general.mutable_as<T>(),
                            x.as<T>(),
                            p.N,
                            p.H,
                            p.W,
                            p.C,
                            OH,
                            OW,
                            p.up,
                            p.down,
                            pad,
                            pad,
                            taps,
                            2.0f,
                            {0.1f, 0.5f, 0.3f, 0.2f, 0.4f, 0.1f, 0.3f, 0.2f, 0.5f, 0.3f, 0.2f, 0.1f}};
    run(x.stream(), k);
    k.y = y.mutable_as<T>();
    other(x.stream(), k);
    const std::vector<double> expected = general.to_doubles(), got = y.to_doubles();
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      const double rounding = type == DType::bf16 ? 0x1p-7 : 0x1p-21;  // the same sum may round up once, down once
      const double error = std::abs(expected[i] - got[i]) / (rounding * std::abs(expected[i]) + taps * 0x1p-21);
      if (!(error <= worst)) worst = error;
    }
    return worst;
  }
  template <class T>
  static double difference_of_vectors(const Device& device) {
    return difference<T>(device, 4, [](const Stream& stream, const kernels::Upfirdn2d<T>& k) {
      EXPECT_TRUE(kernels::has_vectors(k));
      if (k.up == 2) return run(stream, kernels::Upfirdn2dVectors<T, 2, 1>{k});
      if (k.down == 2) return run(stream, kernels::Upfirdn2dVectors<T, 1, 2>{k});
      run(stream, kernels::Upfirdn2dVectors<T, 1, 1>{k});
    });
  }
  template <class T>
  static double difference_of_rows(int taps) {
    return difference<T>(Device::cpu(), taps, [](const Stream& stream, const kernels::Upfirdn2d<T>& k) {
      run(stream, kernels::Upfirdn2dRows<T>{k});
    });
  }
};

TEST_P(Upfirdn2dTest, VectorsMatchTheGeneralKernelOnTheCpu) {
  EXPECT_LE(difference_of_vectors<float>(Device::cpu()), 1);
  EXPECT_LE(difference_of_vectors<bf16>(Device::cpu()), 1);
}

TEST_P(Upfirdn2dTest, RowsMatchTheGeneralKernelForAnyTaps) {
  for (const int taps : {1, 3, 4, 7, 12}) {
    EXPECT_LE(difference_of_rows<float>(taps), 1) << taps;
    EXPECT_LE(difference_of_rows<bf16>(taps), 1) << taps;
    EXPECT_LE(difference_of_rows<double>(taps), 1) << taps;
  }
}

#ifdef FIRN_CUDA
TEST_P(Upfirdn2dTest, VectorsMatchTheGeneralKernelOnAGpu) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  EXPECT_LE(difference_of_vectors<float>(Device::cuda()), 1);
  EXPECT_LE(difference_of_vectors<bf16>(Device::cuda()), 1);
}
#endif

// Odd and even paddings, crops, more rows than one strip and more columns than one block.
INSTANTIATE_TEST_SUITE_P(Cases, Upfirdn2dTest,
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
