// Power iterations, and batch normalisation cut into several parts, on a GPU against the CPU.
#ifdef FIRN_CUDA
#include <gtest/gtest.h>

#include <cmath>

#include "engine/ops.h"
#include "kernels/device/memory.h"

namespace firn::tests {
namespace {

Tensor drawn(Shape shape, uint64_t seed, const Device& device, DType type = DType::f32) {
  Rng rng{.seed = seed};
  const std::vector<double> values = randn(shape, rng, DType::f32, Device::cpu()).to_doubles();
  return Tensor::from(values, std::move(shape), type, device);
}

void expect_alike(const std::vector<Tensor>& here, const std::vector<Tensor>& there, double tolerance) {
  ASSERT_EQ(here.size(), there.size());
  for (size_t i = 0; i < here.size(); ++i) {
    const std::vector<double> x = here[i].to_doubles(), y = there[i].to_doubles();
    ASSERT_EQ(x.size(), y.size());
    double scale = 1e-6;
    for (const double v : x) scale = std::max(scale, std::abs(v));
    for (size_t j = 0; j < x.size(); ++j) ASSERT_NEAR(x[j], y[j], tolerance * scale) << i << ' ' << j;
  }
}

TEST(DeviceSpectralNorm, IteratesAsOnCpu) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  const auto result = [](const Device& device, DType type) {
    std::vector<SpectralLayer> layers;  // whole and broken vectors, one and several strips and rows a block
    for (const Shape& shape : {Shape{12, 3, 3, 3}, {1, 40}, {24, 3, 3, 16}, {70, 1, 1, 8}, {3, 8}})
      layers.push_back(
          {drawn(shape, layers.size(), device, type), drawn({shape[0]}, 9, device, type), layers.size() % 2 == 0});
    std::vector<Tensor> all;
    for (const Spectral& s : power_iteration(layers, 2)) all.insert(all.end(), {s.u, s.v, s.sigma});
    for (const SpectralLayer& l : layers) all.push_back(l.u);
    return all;
  };
  expect_alike(result(Device::cpu(), DType::f32), result(Device::cuda(), DType::f32), 1e-5);
  expect_alike(result(Device::cpu(), DType::f64), result(Device::cuda(), DType::f64), 1e-12);
}

TEST(DeviceBatchNorm, JoinsPartsAsOnCpu) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  const auto result = [](const Device& device) {
    const Tensor x = drawn({2, 300, 64}, 1, device).require_grad(), gamma = drawn({2, 64}, 2, device).require_grad();
    const Tensor beta = drawn({2, 64}, 3, device).require_grad();
    Tensor mean = drawn({64}, 4, device), variance = Tensor::full({64}, 1, DType::f32, device);
    const Tensor y = batch_norm(x, gamma, beta, {.avg_mean = mean, .avg_var = variance});
    std::vector<Tensor> all = grad(sum(y * drawn({2, 300, 64}, 5, device)), {x, gamma, beta});
    all.insert(all.end(), {y, mean, variance});
    return all;
  };
  expect_alike(result(Device::cpu()), result(Device::cuda()), 1e-5);
}

}  // namespace
}  // namespace firn::tests
#endif
