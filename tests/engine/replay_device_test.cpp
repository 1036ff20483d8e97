// Training with recorded phases on a GPU. tests/ptx runs the same on its interpreter, whose graphs fail where real ones
// would: on an allocation, or on waiting for the device.
#ifdef FIRN_CUDA
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "engine/ops.h"
#include "engine/replay.h"
#include "kernels/device/memory.h"
#include "kernels/ops/control.h"
#include "models/sngan/sngan.h"
#include "tests/training/training_support.h"
#include "training/objectives/sngan.h"

namespace firn {
namespace {

class ReplayTest : public testing::Test {
 protected:
  void SetUp() override {
    if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  }
};

struct Nearness {
  double stats, weights;
};

// Both start with the CPU's weights.
void expect_recorded_training_equals_the_cpu(const TrainOptions& o, const Scratch& scratch, int iterations,
                                             Nearness nearness) {
  TinyRun here(o, scratch / "cpu"), there(o, scratch / "gpu", {}, Device::cuda());
  const auto networks = [](const TrainState& s) {
    return std::array{&s.generator().parameters(), &s.discriminator().parameters(), &s.sampled().parameters()};
  };
  for (size_t k = 0; k < 3; ++k) {
    const Parameters &from = *networks(here.state)[k], &to = *networks(there.state)[k];
    for (size_t i = 0; i < from.size(); ++i) {
      Parameter p = to[i];
      const Tensor& value = from[i].value();
      p.value().copy_from(Tensor::from(value.to_doubles(), value.shape(), value.type(), Device::cuda()));
    }
  }
  here.iterate(iterations);
  there.iterate(iterations);
  EXPECT_EQ(there.state.rng.offset, here.state.rng.offset);
  const Stats a = here.state.stats.read(), b = there.state.stats.read();
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, stat] : a) {
    EXPECT_EQ(b.at(name).finite, stat.finite) << name;
    EXPECT_NEAR(b.at(name).mean(), stat.mean(), nearness.stats * (1 + std::abs(stat.mean()))) << name;
  }
  for (size_t k = 0; k < 3; ++k)
    for (size_t i = 0; i < networks(here.state)[k]->size(); ++i) {
      const Parameter &x = (*networks(here.state)[k])[i], &y = (*networks(there.state)[k])[i];
      const std::vector<double> u = x.value().to_doubles(), v = y.value().to_doubles();
      for (size_t j = 0; j < u.size(); ++j) ASSERT_NEAR(u[j], v[j], nearness.weights) << x.name();
    }
}

// What changes from run to run: weights through Adam, random numbers, style mixing, labels, images, path length, rates.
void expect_recorded_stylegan2_equals_the_cpu(bool cache_features, std::vector<std::string> freeze = {},
                                              const AugmentOptions& augment = {}) {
  const Scratch scratch;
  TrainOptions o = tiny_options(write_images(scratch / "data", 8, 8, 3, 2));
  o.cond = o.data.use_labels = o.data.mirror = true;
  o.cache_features = cache_features;
  o.augment = augment;
  o.freeze.blocks = cache_features ? 1 : 0;
  o.freeze.patterns = std::move(freeze);
  model_of(o).c_dim = 2;
  loss_of(o).d_reg_interval = 2;
  o.batch = o.batch_gpu = 2;
  model_of(o).channel_max = 4;
  o.lr = 1e-3;
  // The lazy phases run for the fourth time.
  expect_recorded_training_equals_the_cpu(o, scratch, 7, {.stats = 1e-3, .weights = 5e-3});
}

// Images lie on the GPU and are put there on the CPU.
TEST_F(ReplayTest, RecordedTrainingEqualsTheCpu) { expect_recorded_stylegan2_equals_the_cpu(false); }
TEST_F(ReplayTest, RecordedTrainingWithFeaturesEqualsTheCpu) { expect_recorded_stylegan2_equals_the_cpu(true); }
TEST_F(ReplayTest, RecordedTrainingWithFrozenFiltersEqualsTheCpu) {
  expect_recorded_stylegan2_equals_the_cpu(false, {"D:b8.*,b4.conv:0-1", "G:synthesis.b?.conv?:1,3"});
}

// p moves by half after the fourth iteration, and replays see it.
TEST_F(ReplayTest, RecordedTrainingWithAugmentationEqualsTheCpu) {
  expect_recorded_stylegan2_equals_the_cpu(false, {},
                                           {.aug = "ada", .target = -1, .ada_kimg = 0.016, .pipe = "bgcfnc"});
}

// Replays write vectors u and running averages too, and read the sigma of frozen layers. In double, as in G nothing but
// rounding moves biases before a normalisation.
void expect_recorded_sngan_equals_the_cpu(bool cache_features) {
  const Scratch scratch;
  TrainOptions o = TrainOptions::of("sngan");
  o.model = SnganOptions{.height = 32, .c_dim = 2, .z_dim = 4, .ch = 1, .type = DType::f64};
  o.data = {.path = write_images(scratch / "data", 4, 32, 3, 2), .use_labels = true};
  o.cond = true;
  o.cache_features = cache_features;
  o.freeze.blocks = 1;
  o.loss = SnganLoss{.n_dis = 1, .average = cache_features};
  o.batch = o.batch_gpu = 2;
  o.lr = 1e-3;
  const int iterations = cache_features ? 3 : 4;  // the third is the first replay
  expect_recorded_training_equals_the_cpu(o, scratch, iterations, {.stats = 1e-6, .weights = 1e-6});
}

TEST_F(ReplayTest, RecordedSnganEqualsTheCpu) { expect_recorded_sngan_equals_the_cpu(false); }
TEST_F(ReplayTest, RecordedSnganWithFeaturesEqualsTheCpu) { expect_recorded_sngan_equals_the_cpu(true); }

TEST_F(ReplayTest, ReadsFreshValuesAndDrawsNewNumbers) {
  const Device device = Device::cuda();
  Tensor x = Tensor::zeros({4}, DType::f32, device), y = x.like(), z = x.like({5});
  Replay replay(device, std::make_shared<Arena>());
  Rng rng{.seed = 3}, expected{.seed = 3};
  for (int run = 0; run < 5; ++run) {
    const float values[4] = {float(run), 1, 2, 3};
    kernels::set_values<float>(device.stream(), x.mutable_data(), values);
    replay.run(rng, [&](Rng& draws) {
      randn({2}, draws, DType::f32, device);
      y.copy_from(square(x) + randn({4}, draws, DType::f32, device));
      z.copy_from(uniform({5}, 2, 3, draws, DType::f32, device));
    });
    randn({2}, expected, DType::f32, device);
    const std::vector<float> noise = randn({4}, expected, DType::f32, device).to_floats(), got = y.to_floats();
    for (size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(got[i], values[i] * values[i] + noise[i]) << "run " << run;
    EXPECT_EQ(z.to_floats(), uniform({5}, 2, 3, expected, DType::f32, device).to_floats()) << "run " << run;
  }
  EXPECT_TRUE(replay.recorded());
  EXPECT_EQ(rng.offset, expected.offset);
}

TEST_F(ReplayTest, FollowsALearningRateThatChanges) {
  const auto trained = [](const Device& device) {
    Parameters parameters;
    parameters.add(Parameter("w", Tensor::full({3}, 0, DType::f32, device)));
    Adam adam(parameters, {.lr = 1});
    Replay replay(device, std::make_shared<Arena>());
    Rng rng;
    for (int run = 0; run < 6; ++run) {
      adam.set_lr(1.0 / (1 << run));
      adam.advance();
      replay.run(rng, [&](Rng&) { adam.apply({Tensor::full({3}, 1, DType::f32, device)}); });
    }
    EXPECT_EQ(adam.lr(), 1.0 / 32);
    return parameters[0].value().to_floats();
  };
  const std::vector<float> w = trained(Device::cuda());
  for (const float v : w) EXPECT_NEAR(v, -(2 - 1.0 / 32), 1e-6);  // the gradient is 1 in every step
}

// The rounded weights that tensor cores read lie outside the arena: the optimiser of one replay writes what the next
// one reads.
TEST_F(ReplayTest, RoundedWeightsFollowTheOptimizer) {
  const auto trained = [](const Device& device) {
    Parameters parameters;
    parameters.add(Parameter("w", Tensor::full({8, 1, 1, 32}, 0.25, DType::f32, device)));
    const Tensor x = Tensor::full({1, 4, 4, 32}, 1, DType::bf16, device);
    styled_conv2d(x, {}, parameters[0](), {}, {}, linear());  // leaves a rounding that no optimiser keeps current
    Adam adam(parameters, {.lr = 0.25});                      // powers of two: exact in bf16
    Tensor y = Tensor::zeros({1, 4, 4, 8}, DType::bf16, device);
    Replay replay(device, std::make_shared<Arena>());
    Rng rng;
    for (int run = 0; run < 7; ++run) {
      if (run == 5) {
        Parameter w = parameters[0];
        w.value().copy_from(Tensor::full({8, 1, 1, 32}, 0.75, DType::f32, device));  // not the optimiser
      }
      adam.advance();
      replay.run(rng, [&](Rng&) {
        y.copy_from(styled_conv2d(x, {}, parameters[0](), {}, {}, linear()));
        adam.apply({Tensor::full({8, 1, 1, 32}, 1, DType::f32, device)});
      });
    }
    return y.to_floats();
  };
  const std::vector<float> y = trained(Device::cuda());
  for (const float v : y) EXPECT_EQ(v, 32 * (0.75f - 0.25f));
  EXPECT_EQ(y, trained(Device::cpu()));
}

TEST_F(ReplayTest, ALargerPhaseMovesTheOthersToItsMemory) {
  const Device device = Device::cuda();
  const auto arena = std::make_shared<Arena>();
  Replay small(device, arena), large(device, arena);
  Tensor y = Tensor::zeros({1}, DType::f32, device), z = Tensor::zeros({1}, DType::f32, device);
  const Tensor x = Tensor::full({1000}, 2, DType::f32, device), big = Tensor::full({9000}, 1, DType::f32, device);
  Rng rng;
  for (int run = 0; run < 6; ++run) {
    small.run(rng, [&](Rng&) { y.copy_from(y + reshape(sum(square(x)), {1})); });
    if (run > 1) large.run(rng, [&](Rng&) { z.copy_from(z + reshape(sum(square(big)), {1})); });
  }
  EXPECT_EQ(y.item(), 6 * 4000);
  EXPECT_EQ(z.item(), 4 * 9000);
}

TEST_F(ReplayTest, WhatCannotBeRecordedIsOneError) {
  const Device device = Device::cuda();
  Tensor x = Tensor::zeros({4}, DType::f32, device);
  Rng rng;
  Replay reads(device, std::make_shared<Arena>()), keeps(device, std::make_shared<Arena>());
  const auto body = [&](Rng&) { sum(x).item(); };
  reads.run(rng, body);
  reads.run(rng, body);
  EXPECT_MENTIONS(message_of<DeviceError>([&] { reads.run(rng, body); }), "capturing");
  Tensor kept;
  keeps.run(rng, [&](Rng&) { kept = square(x); });
  EXPECT_MENTIONS(message_of<DeviceError>([&] { keeps.run(rng, [&](Rng&) { kept = square(x); }); }),
                  "left 1 allocations behind");
  EXPECT_EQ(sum(x).item(), 0);  // the stream is of use after it
}

}  // namespace
}  // namespace firn
#endif
