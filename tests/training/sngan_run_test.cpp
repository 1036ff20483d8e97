// SNGAN in runs: its snapshots go on with the same bits, and frozen layers cost nothing.
#include <gtest/gtest.h>

#include "kernels/core/run.h"
#include "models/sngan/sngan.h"
#include "tests/tools/tools_support.h"
#include "training/run/metric_log.h"
#include "training/run/run_folder.h"
#include "training/step/iteration.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

std::string tiny_sngan(const Scratch& scratch, const std::string& runs, const std::string& more) {
  return fmt::format(
      "--outdir '{0}/{1}' --data '{0}/data' --model sngan --ch 1 --batch 4 --n-dis 2 --cond --grid 2x2 "
      "--tick 0.016 --snap 1 --metrics none --precision fp32 --threads 1 {2}",
      scratch.path().string(), runs, more);
}

TEST(SnganRun, AResumedRunEndsWithTheSameBits) {
  const Scratch scratch;
  write_images(scratch.path() / "data", 8, 32, 3, 2);
  ASSERT_EQ(tool("gan-train", tiny_sngan(scratch, "whole", "--average --kimg 0.064")).code, 0);
  ASSERT_EQ(tool("gan-train", tiny_sngan(scratch, "parts", "--average --kimg 0.032")).code, 0);
  const Ran resumed = tool("gan-train", fmt::format("--outdir '{}/parts' --resume latest --kimg 0.064 --threads 1",
                                                    scratch.path().string()));
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  const SafetensorsFile a = read_safetensors(latest_snapshot(scratch.path() / "whole")),
                        b = read_safetensors(latest_snapshot(scratch.path() / "parts"));
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) EXPECT_EQ(tensor.bytes, b.at(name).bytes) << name;
}

TEST(SnganRun, MeasuresItsClasses) {
  const Scratch scratch;
  write_images(scratch.path() / "data", 8, 32, 3, 2);
  const Ran ran = tool("gan-train", tiny_sngan(scratch, "runs", "--kimg 0.016 --metrics classfid8_full-pixels"));
  ASSERT_EQ(ran.code, 0) << ran.output;
  const fs::path run = latest_snapshot(scratch.path() / "runs").parent_path();
  const auto curve = MetricLog(run).curves().at("classfid8_full-pixels");
  ASSERT_EQ(curve.points.size(), 1u);
  EXPECT_TRUE(std::isfinite(curve.points[0].second));
  const Ran again = tool(
      "gan-metrics", fmt::format("'{}' --metrics classfid8_full-pixels,fid8_full-pixels --threads 1", run.string()));
  EXPECT_EQ(again.code, 0) << again.output;
}

// Gradients by weights and by data that one step of D launches.
std::pair<int64_t, int64_t> gradients(int frozen_blocks) {
  TrainOptions o = TrainOptions::of("sngan");
  o.model = SnganOptions{.height = 32, .z_dim = 4, .ch = 1};
  o.batch = o.batch_gpu = 2;
  o.freeze.blocks = frozen_blocks;
  TrainState state(o, Device::cpu());
  Reals noise(o, state);
  Iteration iteration(o, state, nullptr, noise);
  const LaunchCounter launches;
  iteration.run_phase(1, 1);
  return {launches["conv_backward_weights"], launches["conv_backward_data"]};
}

// Reals and fakes pass D one after the other; its blocks have 3, 3, 2 and 2 convolutions. What G upsamples, in making
// the fakes, are transposed convolutions, three of them.
TEST(SnganRun, FrozenBlocksLaunchNoGradients) {
  EXPECT_EQ(gradients(0), std::pair(int64_t{2 * 10}, int64_t{2 * 8 + 3}));
  EXPECT_EQ(gradients(1), std::pair(int64_t{2 * 7}, int64_t{2 * 5 + 3}));
  EXPECT_EQ(gradients(2), std::pair(int64_t{2 * 4}, int64_t{2 * 3 + 3}));
  EXPECT_EQ(gradients(4), std::pair(int64_t{0}, int64_t{3}));
}

// Features of the reals are computed again by a run that goes on; nothing that trains notices.
TEST(SnganRun, AResumedRunWithCachedFeaturesEndsWithTheSameBits) {
  const Scratch scratch;
  write_images(scratch.path() / "data", 8, 32, 3, 2);
  ASSERT_EQ(tool("gan-train", tiny_sngan(scratch, "source", "--kimg 0.016")).code, 0);
  const std::string freeze =
      fmt::format("--freeze-d 2 --cache-features --init '{}'", latest_snapshot(scratch.path() / "source").string());
  ASSERT_EQ(tool("gan-train", tiny_sngan(scratch, "whole", freeze + " --kimg 0.064")).code, 0);
  ASSERT_EQ(tool("gan-train", tiny_sngan(scratch, "parts", freeze + " --kimg 0.032")).code, 0);
  const Ran resumed = tool("gan-train", fmt::format("--outdir '{}/parts' --resume latest --kimg 0.064 --threads 1",
                                                    scratch.path().string()));
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  const SafetensorsFile a = read_safetensors(latest_snapshot(scratch.path() / "whole")),
                        b = read_safetensors(latest_snapshot(scratch.path() / "parts"));
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) EXPECT_EQ(tensor.bytes, b.at(name).bytes) << name;
}

struct Tiny {
  explicit Tiny(int frozen_blocks = 0) {
    options.model = SnganOptions{.height = 32, .c_dim = 2, .z_dim = 4, .ch = 8};
    options.batch = options.batch_gpu = 2;
    options.freeze.blocks = frozen_blocks;
    state.emplace(options, Device::cpu());
    noise.emplace(options, *state);
    iteration.emplace(options, *state, nullptr, *noise);
  }
  std::map<std::string, std::vector<double>> values() const {
    std::map<std::string, std::vector<double>> all;
    for (const Parameter& p : state->discriminator().parameters()) all[p.name()] = p.value().to_doubles();
    return all;
  }
  TrainOptions options = TrainOptions::of("sngan");
  std::optional<TrainState> state;
  std::optional<Reals> noise;
  std::optional<Iteration> iteration;
};

// Neither weights nor vectors of the power iteration move in what is frozen, and Adam holds none of it.
TEST(SnganRun, FrozenBlocksStayAsTheyAre) {
  Tiny tiny(2);
  const auto before = tiny.values();
  tiny.iteration->run();
  for (const auto& [name, values] : tiny.values()) {
    const bool frozen = name.starts_with("block1.") || name.starts_with("block2.");
    EXPECT_EQ(values == before.at(name), frozen) << name;
    for (const Parameter& p : tiny.state->role("D").adam->targets()) EXPECT_FALSE(frozen && p.name() == name);
  }
}

// Half a step of noise is a shift by half a step of the bytes, 1/256.
TEST(SnganRun, RealsAreDequantised) {
  const Tiny tiny;
  const Phase& d = tiny.iteration->phases()[1];
  Rng rng;
  for (const auto& feed : d.feeds) feed->refresh(rng);
  const Inputs drawn = d.draw(rng);
  const auto score = [&](const Tensor& images, const Tensor& noise) {
    Inputs in;
    for (const char* name : {"z", "gen_labels", "labels"}) in.put(name, drawn[name]);
    in.put("images", images);
    in.put("dequantisation", noise);
    const NoGrad scope;
    return d.terms(in, nullptr).report[0].value.item();
  };
  const Tensor images = drawn["images"], noise = drawn["dequantisation"];
  for (const double v : noise.to_doubles()) ASSERT_TRUE(v >= 0 && v < 1);
  const Tensor half = noise * 0.0 + 0.5;
  // Vectors of the power iteration move in each call: the first settles them, weights being the same.
  for (int i = 0; i < 50; ++i) score(images, half);
  EXPECT_NEAR(score(images, half), score(images + 128 / 127.5 / 256, {}), 1e-5);
  EXPECT_GT(std::abs(score(images, half) - score(images, {})), 1e-5);
}

TEST(SnganRun, AnAverageIsKeptWhereItIsAskedFor) {
  const Scratch scratch;
  write_images(scratch.path() / "data", 8, 32, 3, 2);
  ASSERT_EQ(tool("gan-train", tiny_sngan(scratch, "with", "--kimg 0.032 --average --ema-kimg 0.01")).code, 0);
  ASSERT_EQ(tool("gan-train", tiny_sngan(scratch, "without", "--kimg 0.032")).code, 0);
  const SafetensorsFile with = read_safetensors(latest_snapshot(scratch.path() / "with")),
                        without = read_safetensors(latest_snapshot(scratch.path() / "without"));
  EXPECT_TRUE(without.tensors.lower_bound("G_ema.") == without.tensors.end() ||
              !without.tensors.lower_bound("G_ema.")->first.starts_with("G_ema."));
  EXPECT_NE(with.at("G_ema.block2.c1.weight").bytes, with.at("G.block2.c1.weight").bytes);
  EXPECT_NE(with.at("G_ema.block2.b1.avg_var").bytes, with.at("G.block2.b1.avg_var").bytes);
}

// By their own statistics, images of an average have the contrast that a batch of them has while training.
TEST(SnganRun, AnAverageIsNormalisedByStatisticsOfItsOwn) {
  SnganGenerator g({.height = 32, .c_dim = 3, .z_dim = 4, .ch = 4}, Device::cpu());
  Rng rng{.seed = 1};
  for (Parameter p : g.parameters().without_buffers())
    p.value().copy_from(p.value() * 0.3 + randn(p.value().shape(), rng, DType::f32, Device::cpu()) * 0.05);
  const NoGrad scope;
  std::vector<int32_t> classes(96);
  for (size_t i = 0; i < classes.size(); ++i) classes[i] = int32_t(i % 3);
  const Tensor z = randn({96, 4}, rng, DType::f32, Device::cpu()), labels = Tensor::from(classes, {96}, Device::cpu());
  const auto distance = [&] {
    const double d = mean(square(g.image(g.code(z, labels)) - SnganGenerator(g).forward(z, labels))).item();
    return d / mean(square(g.image(g.code(z, labels)))).item();
  };
  g.estimate_statistics();
  const double settled = distance();  // forward() has now moved the averages by a tenth towards that batch
  EXPECT_LT(settled, 0.05);
  for (Parameter p : g.parameters())
    if (p.name().ends_with("avg_var")) p.value().copy_from(p.value() * 9.0);
  EXPECT_GT(distance(), 5 * settled);
}

// Products of a layer that halves the image are those of its small side.
TEST(SnganRun, FrozenBlocksSaveTheirShare) {
  const SnganDiscriminator d({.height = 32, .c_dim = 10, .ch = 1}, Device::cpu());
  std::map<std::string, double> flops;
  for (const auto& layer : d.layers()) flops[layer.name] = layer.flops;
  EXPECT_EQ(flops["block1.c1"], 2.0 * 32 * 32 * 9 * 3 * 2);
  EXPECT_EQ(flops["block1.c2"], 2.0 * 16 * 16 * 9 * 2 * 2);
  EXPECT_EQ(flops["block1.c_sc"], 2.0 * 16 * 16 * 3 * 2);
  EXPECT_EQ(flops["block4.c2"], 2.0 * 8 * 8 * 9 * 2 * 2);
  EXPECT_EQ(flops["l_y"], 2.0 * 2);
}

// kimg of --ema-kimg are of reals, of which n_dis batches are shown in an iteration.
TEST(SnganRun, AnIterationShowsTheRealsOfAllItsStepsOfD) {
  TrainOptions o = TrainOptions::of("sngan");
  o.model = SnganOptions{.height = 32, .z_dim = 4, .ch = 1};
  o.batch = o.batch_gpu = 2;
  TrainState state(o, Device::cpu());
  Reals noise(o, state);
  EXPECT_EQ(Iteration(o, state, nullptr, noise).images(), 5 * 2);
}

}  // namespace
}  // namespace firn
