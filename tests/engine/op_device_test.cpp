// Every op on a GPU against double on the CPU. tests/ptx runs the same tests on its interpreter.
#ifdef FIRN_CUDA
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "engine/adam.h"
#include "kernels/conv/packed_weights.h"
#include "kernels/device/memory.h"
#include "kernels/ops/adam.h"
#include "tests/engine/op_check.h"

namespace firn::tests {
namespace {

struct DeviceCase {
  OpCase op;
  DType type;
};

void PrintTo(const DeviceCase& c, std::ostream* out) { *out << c.op.name << ' ' << name_of(c.type); }

std::vector<DeviceCase> device_cases() {
  std::vector<DeviceCase> all;
#ifdef FIRN_INTERPRETED
  const std::vector<OpCase> ops = small_op_cases();
#else
  const std::vector<OpCase>& ops = op_cases();
#endif
  for (const OpCase& c : ops)
    for (DType t : {DType::f32, DType::bf16, DType::f64})
      if (t != DType::bf16 || !c.activations.empty()) all.push_back({c, t});
  return all;
}

void skip_without_gpu() {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
}

class DeviceOpTest : public testing::TestWithParam<DeviceCase> {
 protected:
  void SetUp() override { skip_without_gpu(); }
};

TEST_P(DeviceOpTest, MatchesCpu) {
  const auto& [op, type] = GetParam();
  EXPECT_LT(precision_error(op, type, Device::cuda(), true), device_tolerance(op, type));
}

INSTANTIATE_TEST_SUITE_P(Ops, DeviceOpTest, testing::ValuesIn(device_cases()), [](const auto& info) {
  return fmt::format("{}_cuda_{}", info.param.op.name, name_of(info.param.type));
});

// What is no op: the optimiser, the moving average, random numbers, casts.
class DeviceTest : public testing::TestWithParam<DType> {
 protected:
  void SetUp() override { skip_without_gpu(); }

  // The largest difference between what f gives on the GPU and on the CPU.
  static double difference(const std::function<Tensor(const Device&)>& f) {
    const std::vector<double> here = f(Device::cpu()).to_doubles(), there = f(Device::cuda()).to_doubles();
    double worst = here.size() == there.size() ? 0 : 1;
    for (size_t i = 0; i < here.size() && i < there.size(); ++i)
      if (here[i] != there[i] && !(std::abs(here[i] - there[i]) <= worst)) worst = std::abs(here[i] - there[i]);
    return worst;
  }
};

TEST_P(DeviceTest, RandomNumbersMatchCpu) {
  EXPECT_LT(difference([](const Device& device) {
              Rng rng{.seed = 3, .offset = 5};
              return randn({7, 9}, rng, GetParam(), device);
            }),
            1e-5);  // drawn in float for every type
  EXPECT_LT(difference([](const Device& device) {
              Rng rng{.seed = 3, .offset = 5};
              return uniform({7, 9}, -2, 3, rng, GetParam(), device);
            }),
            1e-6);
}

TEST(DeviceRandom, Bf16IsWhatFloatRoundsTo) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  const auto drawn = [](DType type) {
    Rng rng{.seed = 3};
    return concat({randn({500}, rng, type, Device::cuda()), uniform({500}, -1, 1, rng, type, Device::cuda())}, 0)
        .to_floats();
  };
  const std::vector<float> exact = drawn(DType::f32), rounded = drawn(DType::bf16);
  for (size_t i = 0; i < exact.size(); ++i) EXPECT_EQ(rounded[i], float(bf16(exact[i]))) << i;
}

TEST_P(DeviceTest, AdamRepairsAndUpdatesAsOnCpu) {
  for (const double beta1 : {0.0, 0.9})
    EXPECT_LT(difference([&](const Device& device) {
                Parameters parameters;
                std::vector<Tensor> gradients;
                Rng rng{.seed = 1};
                for (int64_t n : {5, 2500, 5000}) {  // 2500: no whole vectors; 5000: several blocks
                  std::vector<double> w = randn({n}, rng, DType::f64, Device::cpu()).to_doubles(), g = w;
                  g[1] = NAN;
                  g[2] = INFINITY;
                  parameters.add(Parameter(fmt::format("w{}", n), Tensor::from(w, {n}, GetParam(), device)));
                  gradients.push_back(Tensor::from(g, {n}, GetParam(), device));
                }
                Adam adam(parameters, {.lr = 0.1, .beta1 = beta1});
                adam.step(gradients);
                adam.step(gradients);
                EXPECT_EQ(adam.repaired(), 12);
                return concat(adam.parameters(), 0);
              }),
              GetParam() == DType::f64 ? 1e-12 : 1e-5);
}

TEST_P(DeviceTest, AdamTakesTensorsThatBeginAnywhere) {
  for (const int64_t shift : {0, 1, 4})
    EXPECT_LT(difference([&](const Device& device) {
                return dispatch_acc(GetParam(), [&](auto tag) {
                  using T = decltype(tag);
                  const int64_t n = 2400;
                  Rng rng{.seed = 2};
                  const auto drawn = [&] {
                    const Tensor t = randn({n + shift}, rng, DType::f64, Device::cpu());
                    return Tensor::from(t.to_doubles(), {n + shift}, GetParam(), device);
                  };
                  Tensor p = drawn(), average = drawn(), g = drawn(), m = drawn(), v = square(p);
                  Tensor rounded = Tensor::zeros({n + shift}, DType::bf16, device);
                  const Tensor rates = Tensor::from(std::vector<double>{0.1, 0.5, 0.5, 0.75}, {4}, GetParam(), device);
                  Tensor repaired = Tensor::zeros({2}, DType::i64, device);
                  kernels::Adam<T> kernel{.tensor_count = 1,
                                          .block_count = 2,
                                          .rates = static_cast<const kernels::AdamRates<T>*>(rates.data()),
                                          .repaired = repaired.mutable_as<int64_t>(),
                                          .beta1 = T(0.5),
                                          .beta2 = T(0.75),
                                          .eps = T(1e-8)};
                  kernel.tensors[0] = {.p = p.mutable_as<T>() + shift,
                                       .g = g.as<T>() + shift,
                                       .m = m.mutable_as<T>() + shift,
                                       .v = v.mutable_as<T>() + shift,
                                       .average = average.mutable_as<T>() + shift,
                                       .rounded = rounded.mutable_as<bf16>() + shift,
                                       .gain = 0.5f,
                                       .count = n};
                  run(device.stream(), kernel);
                  EXPECT_EQ(repaired.to_integers(), (std::vector<int64_t>{0, 0}));
                  const std::vector<float> copy = rounded.to_floats(), exact = p.to_floats();
                  for (auto i = static_cast<size_t>(shift); i < copy.size(); ++i)
                    EXPECT_EQ(copy[i], float(bf16(0.5f * exact[i]))) << i;
                  return concat({p, m, v, average}, 0);
                });
              }),
              GetParam() == DType::f64 ? 1e-12 : 1e-5);
}

TEST_P(DeviceTest, AdamKeepsAverages) {
  for (const double decay : {1.0, 0.75, 0.0})
    EXPECT_LT(difference([&](const Device& device) {
                Parameters parameters, averages;
                parameters.add(Parameter("w", Tensor::full({300}, 3, GetParam(), device)));
                averages.add(Parameter("w", Tensor::full({300}, 2, GetParam(), device)));
                Adam adam(parameters, {.lr = 0.5});
                adam.keep_averages(averages);
                adam.advance(decay);
                adam.apply({Tensor::full({300}, 1, GetParam(), device)});
                const double moved = 2.5 + decay * (2 - 2.5);  // the first step is lr, whatever the gradient
                EXPECT_NEAR(averages[0].value().to_doubles()[299], moved, 1e-6);
                return averages[0].value();
              }),
              1e-6);
}

TEST_P(DeviceTest, AverageMatchesCpu) {
  EXPECT_LT(difference([](const Device& device) {
              Parameters average, current;
              average.add(Parameter("w", Tensor::full({1000}, 2, GetParam(), device)));
              current.add(Parameter("w", Tensor::full({1000}, 3, GetParam(), device)));
              update_average(average, current, 0.75);
              return average[0].value();
            }),
            1e-6);
}

TEST_P(DeviceTest, CastsMatchCpu) {
  for (DType to : {DType::f32, DType::bf16, DType::f64})
    for (DType from : {GetParam(), DType::bf16})
      EXPECT_EQ(difference([&](const Device& device) {
                  std::vector<double> v = {0, 1.00390625, -3.3e38, 1e-40, INFINITY};
                  return cast(Tensor::from(v, {5}, from, device), to);
                }),
                0)
          << name_of(from) << " to " << name_of(to);
}

TEST(DeviceSums, EndHoweverManyPartsTheyAreCutInto) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  for (const Shape& shape : {Shape{1, 4, 33000}, {1, 100, 2500}, {1, 700, 100}, {2, 20000, 1}}) {
    const Tensor x = Tensor::full(shape, 1, DType::f32, Device::cuda());
    const Tensor y = sum_to(x, {shape[0], 1, shape[2]});
    for (const float v : y.to_floats()) ASSERT_EQ(v, float(shape[1]));
  }
}

// The pass that makes the first layer's gradients makes those that the second one passes on, too.
TEST(DeviceLayers, ShareOneBackwardPass) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  const std::vector<OpCase> cases = small_op_cases();
  const auto layers = std::ranges::find(cases, "styled_layers", &OpCase::name);
  ASSERT_NE(layers, cases.end());
  Rng rng{.seed = 6};
  std::vector<Tensor> inputs;
  for (const Shape& shape : layers->shapes)
    inputs.push_back(randn(shape, rng, DType::f32, Device::cuda()).require_grad());
  const Tensor y = sum(layers->fn(inputs));
  const LaunchCounter launches;
  grad(y, inputs);
  EXPECT_EQ(launches["bias_act_backward"], 2);
  EXPECT_EQ(launches["scale_channels"], 1);  // to the input of the first
  EXPECT_EQ(launches["dot_pixels"], 1);
}

// With the filter before or behind it, a convolution of stride 2 is one kernel; the filtered image of one whose weights
// train is kept for their gradient.
TEST(DeviceLayers, ResampleInOneKernel) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  const WithoutLibraries scope;
  const std::vector<OpCase> cases = small_op_cases();
  const auto launches_of = [&](const char* name, bool backward) {
    const auto op = std::ranges::find(cases, name, &OpCase::name);
    if (op == cases.end()) throw Error(fmt::format("no case {}", name));
    EXPECT_LT(precision_error(*op, DType::bf16, Device::cuda(), true), device_tolerance(*op, DType::bf16));
    const std::vector<Tensor> inputs = as_leaves(inputs_of(*op, DType::bf16, Device::cuda()));
    std::optional<LaunchCounter> launches(std::in_place);
    const Tensor y = sum(op->fn(inputs));
    if (backward) launches.reset(), launches.emplace(), grad(y, inputs);
    return launches->counts();
  };
  using Counts = std::map<std::string, int64_t>;
  const auto count = [](Counts counts, const char* name) { return counts[name]; };
  for (const auto& [whole, stays, trains] : {std::array{"styled_conv2d_up", "conv2d_down_frozen", "conv2d_down"},
                                             {"nearest_conv2d", "conv2d_pool_frozen", "conv2d_pool"}}) {
    const Counts up = launches_of(whole, false), frozen = launches_of(stays, false);
    const Counts frozen_backward = launches_of(stays, true), down = launches_of(trains, false);
    const Counts down_backward = launches_of(trains, true);
    EXPECT_EQ(count(up, "modulated_conv_up"), 1);
    EXPECT_EQ(count(frozen, "conv_down"), 1);
    EXPECT_EQ(count(down, "conv_down"), 0);
    EXPECT_EQ(count(down, "upfirdn2d_vectors"), 1);
    EXPECT_EQ(count(frozen_backward, "modulated_conv_up"), 1);
    EXPECT_EQ(count(down_backward, "modulated_conv_up"), 1);
    for (const Counts& filterless : {up, frozen, frozen_backward, down_backward})
      EXPECT_EQ(count(filterless, "upfirdn2d_vectors") + count(filterless, "upfirdn2d_bias_act"), 0);
  }
}

// y[a,k,b] = x[a,k,b] / 2, or x[b,k,a] / 2, rounded to To.
template <class To, class From>
void expect_repacked(bool transposed) {
  const int64_t A = 5, B = 300, taps = 9;
  Rng rng{.seed = 4};
  const Tensor x = cast(randn({A * B * taps}, rng, DType::f32, Device::cuda()), dtype_of<From>);
  Tensor y = Tensor::empty({A, taps, B}, dtype_of<To>, Device::cuda());
  run(y.stream(), kernels::RepackWeights<To, From>{y.mutable_as<To>(), x.as<From>(), A, B, taps, transposed, 0.5f});
  const std::vector<float> from = x.to_floats(), got = y.to_floats();
  for (int64_t i = 0; i < y.count(); ++i) {
    const int64_t b = i % B, k = i / B % taps, a = i / (B * taps);
    const float value = from[static_cast<size_t>(transposed ? (b * taps + k) * A + a : i)];
    ASSERT_EQ(got[static_cast<size_t>(i)], float(To(value / 2))) << a << ' ' << k << ' ' << b;
  }
}

TEST(DeviceWeights, AreScaledTurnedAndRounded) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  for (const bool transposed : {false, true}) {
    expect_repacked<bf16, float>(transposed);
    expect_repacked<float, float>(transposed);
    expect_repacked<float, bf16>(transposed);
  }
}

TEST(DeviceWeights, AdamKeepsTheirRoundedCopyCurrent) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  Rng rng{.seed = 4};
  Parameters parameters;
  parameters.add(Parameter("w", randn({8, 3, 3, 16}, rng, DType::f32, Device::cuda())));
  Parameter p = parameters[0];
  Adam adam(parameters, {.lr = 0.1});
  const kernels::ConvProblem problem{
      .I = 16, .O = 8, .KH = 3, .KW = 3, .stride = 1, .pad_y = 1, .pad_x = 1, .gain = 0.25, .type = DType::bf16};
  const auto copy = [&] {
    const auto packed = p().weight_cache().packed(p().stream(), problem, p().data());
    std::vector<bf16> values(static_cast<size_t>(p.count()));
    kernels::copy_to_host(p().stream(), values.data(), packed.get(), values.size() * sizeof(bf16));
    const std::vector<float> w = p().to_floats();
    for (size_t i = 0; i < w.size(); ++i) EXPECT_EQ(float(values[i]), float(bf16(0.25f * w[i]))) << i;
    return packed.get();
  };
  const void* first = copy();
  {
    const LaunchCounter launches;
    adam.step({randn({8, 3, 3, 16}, rng, DType::f32, Device::cuda())});
    EXPECT_EQ(copy(), first);
    EXPECT_EQ(launches["repack_weights"], 0);
  }
  p.value().copy_from(p() * 2);  // somebody else writes the weights
  EXPECT_EQ(copy(), first);
  adam.step({randn({8, 3, 3, 16}, rng, DType::f32, Device::cuda())});
  EXPECT_EQ(copy(), first);
}

INSTANTIATE_TEST_SUITE_P(Device, DeviceTest, testing::Values(DType::f32, DType::f64),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace firn::tests
#endif
