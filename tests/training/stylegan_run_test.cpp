// StyleGAN in runs: its snapshots go on with the same bits, D's blocks are those that FreezeD freezes, and files of
// others, which lack what is our own, can be read.
#include <gtest/gtest.h>

#include "models/files.h"
#include "models/stylegan/stylegan.h"
#include "tests/tools/tools_support.h"
#include "training/objectives/stylegan.h"
#include "training/run/run_folder.h"
#include "training/state/snapshot.h"
#include "training/state/transfer.h"
#include "training/step/iteration.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

const Device cpu = Device::cpu();

std::string tiny_run(const Scratch& scratch, const std::string& runs, const std::string& more) {
  return fmt::format(
      "--outdir '{0}/{1}' --data '{0}/data' --model stylegan --cbase 64 --cmax 8 --z-dim 8 --map-depth 2 --fused-from "
      "16 "
      "--batch 4 --grid 2x2 --tick 0.016 --snap 1 --metrics none --precision fp32 --threads 1 {2}",
      scratch.path().string(), runs, more);
}

StyleGanOptions tiny_model(DType activations = DType::f32) {
  return {.height = 16,
          .z_dim = 8,
          .channel_base = 128,
          .channel_max = 16,
          .mapping_layers = 2,
          .fused_from = 16,
          .activation_type = activations,
          .seed = 3};
}

TrainOptions tiny_options() {
  TrainOptions o = TrainOptions::of("stylegan");
  o.model = tiny_model();
  o.batch = o.batch_gpu = 2;
  return o;
}

SafetensorsFile file_of(const TrainOptions& o, const TrainState& state) {
  const Scratch scratch;
  save_snapshot(scratch / "a.safetensors", o, state);
  return read_safetensors(scratch / "a.safetensors");
}

struct StyleGanResumed : testing::TestWithParam<const char*> {};

TEST_P(StyleGanResumed, EndsWithTheSameBits) {
  const Scratch scratch;
  write_images(scratch.path() / "data", 8, 16, 3);
  const std::string option = GetParam();
  ASSERT_EQ(tool("gan-train", tiny_run(scratch, "whole", option + " --kimg 0.064")).code, 0);
  ASSERT_EQ(tool("gan-train", tiny_run(scratch, "parts", option + " --kimg 0.032")).code, 0);
  const Ran resumed = tool("gan-train", fmt::format("--outdir '{}/parts' --resume latest --kimg 0.064 --threads 1",
                                                    scratch.path().string()));
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  const SafetensorsFile a = read_safetensors(latest_snapshot(scratch.path() / "whole")),
                        b = read_safetensors(latest_snapshot(scratch.path() / "parts"));
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) EXPECT_EQ(tensor.bytes, b.at(name).bytes) << name;
}

INSTANTIATE_TEST_SUITE_P(With, StyleGanResumed, testing::Values("--mixing 0.5", "--growth-kimg 0.02"),
                         [](const auto& info) { return info.index == 0 ? "mixing" : "growth"; });

// The published table at 256 pixels: what FreezeD's layers freeze, and what G's masks name.
TEST(StyleGanRun, BlocksAreThoseOfThePublishedTable) {
  const ShapesOnly shapes;
  const StyleGanOptions options{.height = 256};
  const StyleGanGenerator g(options, cpu);
  const StyleGanDiscriminator d(options, cpu);
  EXPECT_EQ(g.parameters().without_buffers().count(), 26078403);
  EXPECT_EQ(d.parameters().count(), 25365505);
  EXPECT_EQ(freezable_blocks(d), 6);
  const std::vector<int64_t> frozen = {0, 221696, 1106944, 4646912, 9366528, 14086144, 18805760};
  for (int blocks = 0; blocks <= 6; ++blocks)
    EXPECT_EQ(d.parameters().matching(freeze_d_blocks(d, blocks)).count(), frozen[size_t(blocks)]) << blocks;
  EXPECT_EQ(freeze_d_layers(d, 3).back(), "progression.2.conv2.*");
  EXPECT_EQ(g.parameters().matching(g.parts().styles).count(), 5121792);
  EXPECT_EQ(g.parts().blocks.size(), 7u);
  for (const auto& block : g.parts().blocks) EXPECT_GT(g.parameters().matching(block).without_buffers().count(), 0);
  EXPECT_EQ(g.parameters().matching(g.parts().mapping).count(), 8 * (512 * 512 + 512));
}

TEST(StyleGanRun, FrozenBlocksStayAsTheyAreAndAreCut) {
  TrainOptions o = tiny_options();
  o.freeze.blocks = 1;
  TrainState state(o, cpu);
  Reals noise(o, state);
  Iteration iteration(o, state, nullptr, noise);
  const Discriminator& d = state.discriminator();
  std::map<std::string, std::vector<double>> before;
  for (const Parameter& p : d.parameters()) before[p.name()] = p.value().to_doubles();
  iteration.run();
  for (const Parameter& p : d.parameters()) {
    const bool frozen = p.name().starts_with("progression.6.") || p.name().starts_with("from_rgb.6.");
    EXPECT_EQ(p.value().to_doubles() == before.at(p.name()), frozen) << p.name();
  }
  const NoGrad no_grad;
  Rng rng;
  const Tensor images = randn({3, 16, 16, 3}, rng, DType::f32, cpu);
  EXPECT_EQ(d.frozen_blocks(), 1);
  EXPECT_EQ(d.features(images).shape(), d.features_shape(3));
  EXPECT_EQ(d.logits(d.features(images)).to_floats(), d(images).to_floats());
}

TEST(StyleGanRun, SegmentsOfABatchDoNotMix) {
  const StyleGanDiscriminator d(tiny_model(), cpu);
  const NoGrad no_grad;
  Rng rng;
  const Tensor a = randn({2, 16, 16, 3}, rng, DType::f32, cpu), b = randn({2, 16, 16, 3}, rng, DType::f32, cpu) * 2.0;
  const std::vector<float> both = d(concat({a, b}, 0), {}, 2).to_floats(), first = d(a).to_floats(),
                           second = d(b).to_floats();
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(both[i], i < 2 ? first[i] : second[i - 2], 1e-5) << i;
  EXPECT_GT(std::abs(d(concat({a, b}, 0)).to_floats()[0] - both[0]), 1e-5);
}

TEST(StyleGanRun, TheMappingNetworkLearnsAtAHundredthOfTheRate) {
  TrainOptions o = tiny_options();
  TrainState state(o, cpu);
  Reals noise(o, state);
  Iteration iteration(o, state, nullptr, noise);
  const Parameters& all = state.generator().parameters();
  const auto largest_step = [&](const char* name) {
    const std::vector<double> before = all.find(name)->value().to_doubles();
    iteration.run();
    double step = 0;
    for (size_t i = 0; const double v : all.find(name)->value().to_doubles())
      step = std::max(step, std::abs(v - before[i++]));
    return step;
  };
  // The first step of Adam without momentum is the rate.
  EXPECT_NEAR(largest_step("style.1.linear.weight_orig"), 0.01 * o.lr, 0.001 * o.lr);
  EXPECT_GT(largest_step("generator.progression.0.conv1.input"), 0.3 * o.lr);
}

TEST(StyleGanRun, BothLayersOfABlockHaveTheSameNoise) {
  StyleGanGenerator g(tiny_model(), cpu);
  const NoGrad no_grad;
  for (const Parameter& p : g.parameters())
    if (p.name().find(".noise") != p.name().npos && !p.buffer()) Parameter(p).value().copy_from(p.value() + 1.0);
  Rng rng{.seed = 1};
  const Tensor w = randn({2, 8}, rng, DType::f32, cpu);
  const LaunchCounter launches;
  g.synthesize(g.broadcast(w), &rng);
  EXPECT_EQ(launches["normal"], 3);  // an image for each of three sizes
}

TEST(StyleGanRun, Bf16GivesTheSameImageButForRounding) {
  const StyleGanGenerator f32(tiny_model(), cpu), bf16(tiny_model(DType::bf16), cpu);
  const StyleGanDiscriminator d32(tiny_model(), cpu), d16(tiny_model(DType::bf16), cpu);
  const NoGrad no_grad;
  Rng rng{.seed = 1};
  const Tensor z = randn({4, 8}, rng, DType::f32, cpu);
  const auto distance = [](const Tensor& a, const Tensor& b) {
    return std::sqrt(mean(square(a - b)).item() / mean(square(a)).item());
  };
  const Tensor images = f32.forward(z, {}, nullptr);
  EXPECT_LT(distance(images, bf16.forward(z, {}, nullptr)), 0.02);  // 2^-8 a rounding, of some ten layers
  EXPECT_LT(distance(d32(images), d16(images)), 0.05);
}

// Tensors tell the model, and what is our own need not be there.
TEST(StyleGanRun, FilesOfOthersCanBeRead) {
  TrainOptions o = tiny_options();
  o.model.as<StyleGanOptions>().img_channels = 1;
  TrainState state(o, cpu);
  SafetensorsFile file = file_of(o, state);
  file.metadata.clear();
  std::erase_if(file.tensors, [](const auto& t) {
    return t.first.ends_with("noise_const") || t.first.ends_with("w_avg") || t.first.starts_with("state.");
  });
  const SourceModel source = source_model(file);
  EXPECT_EQ(source.model.kind(), "stylegan");
  EXPECT_EQ(shape_differences(source, o.model), "");
  StyleGanOptions other = o.model.as<StyleGanOptions>();
  other.seed = 9;
  StyleGanGenerator g(other, cpu);
  EXPECT_FALSE(load_network(g, file, "G_ema"));
  g.estimate_statistics();
  const NoGrad no_grad;
  Rng rng{.seed = 5};
  const Tensor w = g.map(randn({4096, 8}, rng, DType::f32, cpu), {}),
               none = g.code(slice(w, 0, 0, 1), {}, {.psi = 0}).values;
  const std::vector<float> mean = mean_axes(w, {0}).to_floats(), average = none.to_floats();
  for (size_t i = 0; i < 8; ++i) EXPECT_NEAR(average[i], mean[i], 0.05);  // 1 / sqrt(4096), three times
  TrainState target(o, cpu);
  const TransferReport report = transfer(target, o, file);
  for (const auto& n : report.networks) EXPECT_TRUE(n.fresh.empty() && n.skipped.empty()) << n.name;
  EXPECT_NO_THROW(require_most(report, source, o.model));
}

// An image's own colours reach D as those of the source's images did, whatever the number of channels.
TEST(StyleGanRun, OtherColoursAreCarriedOver) {
  TrainOptions o = tiny_options(), grey = o;
  grey.model.as<StyleGanOptions>().img_channels = 1;
  TrainState source(o, cpu), target(grey, cpu);
  EXPECT_EQ(transfer(target, grey, file_of(o, source)).networks[1].carried.size(), 2u);
  const NoGrad no_grad;
  Rng rng{.seed = 5};
  const Tensor image = randn({2, 16, 16, 1}, rng, DType::f32, cpu);
  const std::vector<float> a = target.discriminator()(image).to_floats(),
                           b = source.discriminator()(expand(image, {2, 16, 16, 3}, DType::f32)).to_floats();
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-4 * std::abs(b[i]));
}

TEST(StyleGanRun, WhatDoesNotGoTogetherIsOneLine) {
  const auto refused = [](const Overlay& given, int size, int classes) {
    TrainOptions o = TrainOptions::of("stylegan");
    return message_of<ConfigError>([&] {
      configure(o, {size, size, 3}, classes, given);
      o.check();
    });
  };
  EXPECT_MENTIONS(refused({}, 24, 0), "power of two from 8 to 1024");
  EXPECT_MENTIONS(refused({}, 32, 10), "has no classes");
  EXPECT_MENTIONS(refused({{"--cache-features", "true"}}, 32, 0), "--gamma 0");
  EXPECT_MENTIONS(refused({{"--pl-weight", "1"}}, 32, 0), "means nothing to StyleGAN");
}

TEST(StyleGanRun, ConfigurationsAreThePublishedOnes) {
  const auto resolved = [](const char* cfg, int size) {
    TrainOptions o = TrainOptions::of("stylegan");
    o.cfg = cfg;
    configure(o, {size, size, 3}, 0, {});
    return std::tuple(o.batch, o.lr, std::pow(0.5, o.batch / (o.ema_kimg * 1000)));
  };
  for (const auto& [cfg, size, batch, lr] : {std::tuple{"auto", 256, 8, 0.001},
                                             {"sched", 8, 64, 0.001},
                                             {"sched", 64, 8, 0.001},
                                             {"sched", 128, 8, 0.0015},
                                             {"sched", 256, 8, 0.002},
                                             {"sched", 1024, 8, 0.003}}) {
    const auto [b, rate, kept] = resolved(cfg, size);
    EXPECT_EQ(std::tuple(b, rate), std::tuple(batch, lr)) << cfg << size;
    EXPECT_NEAR(kept, 0.999, 1e-12);
  }
}

}  // namespace
}  // namespace firn
