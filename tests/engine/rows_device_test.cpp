// Layers of which some filters train, on a GPU against the CPU. tests/ptx runs the same on its interpreter.
#ifdef FIRN_CUDA
#include <gtest/gtest.h>

#include <cmath>

#include "engine/adam.h"
#include "kernels/device/memory.h"
#include "tests/engine/op_check.h"

namespace firn::tests {
namespace {

class DeviceRows : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  }
  WithoutLibraries without_;
};

Tensor drawn(Shape shape, uint64_t seed, const Device& device, DType type = DType::f32) {
  Rng rng{.seed = seed};
  const Tensor values = randn(shape, rng, DType::f32, Device::cpu());
  return cast(Tensor::from(values.to_doubles(), std::move(shape), DType::f32, device), type);
}

TrainedRowsPtr rows(std::vector<int32_t> numbers, int64_t of, const Device& device) {
  return std::make_shared<const TrainedRows>(std::move(numbers), of, device);
}

void expect_alike(const std::vector<Tensor>& here, const std::vector<Tensor>& there, double tolerance) {
  ASSERT_EQ(here.size(), there.size());
  for (size_t i = 0; i < here.size(); ++i) {
    ASSERT_EQ(here[i].shape(), there[i].shape()) << i;
    const std::vector<double> x = here[i].to_doubles(), y = there[i].to_doubles();
    double scale = 1e-6;
    for (const double v : x) scale = std::max(scale, std::abs(v));
    for (size_t j = 0; j < x.size(); ++j) ASSERT_NEAR(x[j], y[j], tolerance * scale) << i << ' ' << j;
  }
}

TEST_P(DeviceRows, GradientsMatchTheCpu) {
  const DType type = GetParam();
  const bool rounds = type == DType::bf16;  // across a kink, too: then there is none
  const auto result = [&](const Device& device) {
    std::vector<Tensor> all;
    const auto add = [&](const Tensor& y, const Tensor& w, uint64_t seed) {
      all.push_back(grad(sum(y * drawn(y.shape(), seed, device, type)), {w})[0]);
    };
    const Tensor x = drawn({2, 6, 6, 16}, 1, device, type), b = drawn({24}, 2, device);
    const auto some = rows({1, 2, 3, 8, 20}, 24, device);
    const Tensor w = require_grad(drawn({24, 3, 3, 16}, 3, device), some);
    add(styled_conv2d(x, drawn({2, 16}, 4, device), w, b, {.pad = 1}, rounds ? linear() : lrelu()), w, 10);
    add(styled_conv2d_up(x, {}, flip(w, {1, 2}), b, {.stride = 2, .transposed = true}, two_by_two(1, 4), linear()), w,
        11);
    const Spectral s = power_iteration({{w.detach(), drawn({24}, 5, device)}})[0];
    add(spectral_conv2d(x, w, s, b, {.pad = 1}, {.slope = rounds ? 1.0 : 0.2}), w, 12);
    const Tensor f = require_grad(drawn({24, 16}, 6, device), some);
    const Tensor flat = drawn({5, 16}, 7, device);
    all.push_back(grad(sum(square(matmul(flat, f, {.trans_b = true}))), {f})[0]);
    return all;
  };
  expect_alike(result(Device::cpu()), result(Device::cuda()), rounds ? 3e-2 : 2e-5);
}
INSTANTIATE_TEST_SUITE_P(Types, DeviceRows, testing::Values(DType::f32, DType::bf16),
                         [](const auto& type) { return name_of(type.param); });

// The rounded copy that the optimiser keeps has what is frozen, too.
TEST(DeviceRowsOfAdam, StepsMatchTheCpuAndKeepTheRoundedCopy) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  const auto result = [](const Device& device) {
    Parameter w("w", drawn({24, 3, 3, 16}, 1, device)), b("b", drawn({24}, 2, device));
    Parameters list;
    for (Parameter p : {w, b}) {
      p.train_rows({0, 1, 5, 9, 10, 11, 23});
      list.add(p);
    }
    Adam adam(list, {.lr = 0.1, .beta1 = 0.5});
    const Tensor x = drawn({2, 6, 6, 16}, 3, device, DType::bf16);
    std::vector<Tensor> all;
    for (int i = 0; i < 3; ++i) {
      all.push_back(conv2d(x, w().detach(), {.pad = 1}));  // of the copy
      adam.step(grad(sum(square(conv2d(x, w(), {.pad = 1}) + 1)) + sum(square(b())), adam.parameters()));
    }
    all.insert(all.end(), {conv2d(x, w().detach(), {.pad = 1}), b().detach()});
    return all;
  };
  expect_alike(result(Device::cpu()), result(Device::cuda()), 4e-2);
}

}  // namespace
}  // namespace firn::tests
#endif
