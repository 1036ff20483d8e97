// Whether results are held to be the same, on every device of this build.
#include "kernels/choice/agreement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/tensor.h"
#include "kernels/device/memory.h"

namespace firn {
namespace {

TEST(Agreement, GoesAsFarAsRounding) {
  std::vector<Device> devices{Device::cpu()};
  if (kernels::cuda_device_count() > 0) devices.push_back(Device::cuda());
  for (const Device& device : devices) {
    const auto agree = [&](const std::vector<double>& y, const std::vector<double>& expected) {
      const auto n = static_cast<int64_t>(y.size());
      const Tensor a = Tensor::from(y, {n}, DType::bf16, device);
      const Tensor b = Tensor::from(expected, {n}, DType::bf16, device);
      return kernels::agree(a.stream(), a.as<bf16>(), b.as<bf16>(), n);
    };
    std::vector<double> large(5000, 1), y = large;
    std::fill(large.begin() + 4096, large.end(), 0);  // a second chunk
    y = large;
    EXPECT_TRUE(agree(y, large));
    y[4500] = 0.01;
    EXPECT_TRUE(agree(y, large)) << "small beside the mean";
    y[4500] = 2;
    EXPECT_FALSE(agree(y, large));
    y[4500] = NAN;
    EXPECT_FALSE(agree(y, large));
    large[4500] = NAN;
    EXPECT_TRUE(agree(y, large)) << "nothing is expected there";
    EXPECT_TRUE(agree({0, 0}, {0, 0}));
    EXPECT_FALSE(agree({0, 1e-3}, {0, 0}));
  }
}

}  // namespace
}  // namespace firn
