// Runs with frozen filters: what is frozen keeps its bits, what was chosen stays chosen.
#include <gtest/gtest.h>

#include "io/files.h"
#include "kernels/core/run.h"
#include "models/sngan/sngan.h"
#include "tests/tools/tools_support.h"
#include "training/methods/fisher.h"
#include "training/methods/method.h"
#include "training/objectives/sngan.h"
#include "training/report/log_record.h"
#include "training/run/run_folder.h"
#include "training/step/iteration.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

TrainOptions tiny_sngan(const fs::path& data) {
  TrainOptions o = TrainOptions::of("sngan");
  o.model = SnganOptions{.height = 32, .c_dim = 2, .z_dim = 4, .ch = 2};
  o.data = {.path = data, .use_labels = true};
  o.cond = true;
  o.batch = o.batch_gpu = 4;
  o.loss = SnganLoss{.n_dis = 1};
  return o;
}

// Bit for bit over 20 iterations; every filter that trains moves in the course of them.
void expect_frozen_filters_stay(TrainOptions o, const Scratch& scratch) {
  TinyRun run(o, scratch / "run");
  std::map<std::string, std::vector<float>> before;
  for (const Role& role : run.state.roles)
    for (const Parameter& p : role.network->parameters()) before[role.name + p.name()] = p.value().to_floats();
  run.iterate(20);
  int masked = 0;
  for (const Role& role : run.state.roles)
    for (const Parameter& p : role.network->parameters()) {
      if (p.buffer() || !p.rows()) continue;
      ++masked;
      const std::vector<float> was = before[role.name + p.name()], now = p.value().to_floats();
      const auto row = std::ptrdiff_t(now.size()) / p.value().dim(0);
      for (int32_t r = 0; r < p.value().dim(0); ++r) {
        const bool same = std::equal(now.begin() + r * row, now.begin() + (r + 1) * row, was.begin() + r * row);
        const bool trains = std::ranges::binary_search(p.rows()->numbers, r);
        EXPECT_EQ(same, !trains) << role.name << " " << p.name() << " " << r;
      }
    }
  EXPECT_GT(masked, 4);
}

TEST(FilterRun, FrozenFiltersOfStyleGan2KeepTheirBits) {
  const Scratch scratch;
  TrainOptions o = tiny_options(write_images(scratch / "data", 8));
  o.freeze.patterns = {"D:b8.*:0-3,6", "D:b4.conv,b4.fc:1-4", "G:synthesis.b?.conv?:0,2,5-7"};
  expect_frozen_filters_stay(o, scratch);
}

TEST(FilterRun, FrozenFiltersOfSnganKeepTheirBits) {
  const Scratch scratch;
  TrainOptions o = tiny_sngan(write_images(scratch / "data", 8, 32, 3, 2));
  o.freeze.patterns = {"D:block[1-3].*:0-1", "G:block*.c1:1,3"};
  o.freeze.blocks = 1;
  expect_frozen_filters_stay(o, scratch);
}

void expect_same(const SafetensorsFile& a, const SafetensorsFile& b) {
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) EXPECT_EQ(tensor.bytes, b.at(name).bytes) << name;
}

TEST(FilterRun, AResumedRunEndsWithTheSameBits) {
  const Scratch scratch;
  TrainOptions o = tiny_options(write_images(scratch / "data", 8));
  o.freeze.patterns = {"D:b8.*:0-3,6", "G:synthesis.*:1"};
  o.beta1 = 0.5;
  TinyRun whole(o, scratch / "whole"), half(o, scratch / "half");
  whole.iterate(6);
  half.iterate(3);
  const fs::path middle = half.save("middle.safetensors");
  const SafetensorsFile stored = read_safetensors(middle);
  EXPECT_EQ(stored.at("state.D.exp_avg_sq.b8.conv0.weight").shape, (std::vector<int64_t>{3, 8, 3, 3}));
  EXPECT_EQ(stored.at("state.D.exp_avg.b8.conv0.bias").shape, (std::vector<int64_t>{3}));
  TrainOptions resumed = snapshot_options(stored);
  resumed.data.path = o.data.path;
  TinyRun rest(resumed, scratch / "rest", middle);
  rest.iterate(3);
  expect_same(read_safetensors(whole.save("a.safetensors")), read_safetensors(rest.save("b.safetensors")));
}

TEST(FisherInformation, IsTheMeanSquareGradientAndLeavesTheStateAlone) {
  const Scratch scratch;
  for (const bool sngan : {false, true}) {
    TrainOptions o = sngan ? tiny_sngan(write_images(scratch / "data32", 8, 32, 3, 2))
                           : tiny_options(write_images(scratch / "data", 8));
    TinyRun run(o, scratch / "run");
    const fs::path before = run.save("before.safetensors");
    const std::vector<Tensor> one = fisher_information(run.state, o, "D", run.data, 1),
                              three = fisher_information(run.state, o, "D", run.data, 3);
    expect_same(read_safetensors(before), read_safetensors(run.save("after.safetensors")));

    Reals reals(o, run.state, run.data, {});
    std::vector<Phase> phases =
        phases_of({.options = o, .state = run.state, .reals = &reals, .draw_label = [&](Rng& rng) {
                     return run.data->label(rng.integer(0, run.data->size()));
                   }});
    Phase& phase = *std::ranges::find(phases, "Dmain", &Phase::name);
    std::vector<std::vector<double>> mean(one.size());
    for (int batch = 0; batch < 3; ++batch) {
      for (const auto& feed : phase.feeds) feed->refresh(run.state.rng);
      const PhaseResult r = run_phase(phase, run.state, phase.draw(run.state.rng), &run.state.rng);
      for (size_t i = 0; i < mean.size(); ++i) {
        const std::vector<double> g = r.gradients[i].to_doubles();
        mean[i].resize(g.size());
        for (size_t k = 0; k < g.size(); ++k) mean[i][k] += g[k] * g[k] / (batch == 0 ? 1 : 3);
        if (batch > 0) continue;
        for (size_t k = 0; k < g.size(); ++k) ASSERT_FLOAT_EQ(float(one[i].to_doubles()[k]), float(mean[i][k]));
        for (double& m : mean[i]) m /= 3;
      }
    }
    for (size_t i = 0; i < mean.size(); ++i) {
      const std::vector<double> found = three[i].to_doubles();
      const double scale = *std::ranges::max_element(mean[i]);
      for (size_t k = 0; k < found.size(); ++k) ASSERT_NEAR(found[k], mean[i][k], 1e-5 * scale);
    }
  }
}

// From the command line: chosen once, written down, and the same as if it had been asked for by number.
TEST(FilterRun, FisherChoosesOnceAndIsResumed) {
  const Scratch scratch;
  write_images(scratch.path() / "data", 8, 32, 3, 2);
  const auto train = [&](const std::string& runs, const std::string& more) {
    return tool("gan-train",
                fmt::format("--outdir '{0}/{1}' --data '{0}/data' --model sngan --ch 2 --batch 4 --n-dis 2 --grid 2x2 "
                            "--tick 0.016 --snap 1 --metrics none --precision fp32 --threads 1 {2}",
                            scratch.path().string(), runs, more));
  };
  ASSERT_EQ(train("source", "--kimg 0.016").code, 0);
  const std::string init = fmt::format("--init '{}' ", latest_snapshot(scratch.path() / "source").string());
  const std::string fisher = init + "--freeze 'D:block*:fisher>q50' --fisher-batches 3 ";
  const Ran whole = train("whole", fisher + "--kimg 0.064");
  ASSERT_EQ(whole.code, 0) << whole.output;
  EXPECT_MENTIONS(whole.output, "2 of 4 filters frozen");
  EXPECT_MENTIONS(whole.output, "20 of 40 filters of layers that train are frozen");
  const LogRecord log = read_log(read_text(latest_snapshot(scratch.path() / "whole").parent_path() / "log.txt"));
  ASSERT_EQ(log.frozen.size(), 1u);
  EXPECT_EQ(log.frozen[0].frozen_parts(), "part of block1, part of block2, part of block3, part of block4");
  EXPECT_GT(log.frozen[0].backward_removed, 10);
  EXPECT_LT(log.frozen[0].backward_removed, 50);  // half of the weight gradients
  ASSERT_EQ(train("parts", fisher + "--kimg 0.032").code, 0);
  const Ran resumed = tool("gan-train", fmt::format("--outdir '{}/parts' --resume latest --kimg 0.064 --threads 1",
                                                    scratch.path().string()));
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  const SafetensorsFile a = read_safetensors(latest_snapshot(scratch.path() / "whole"));
  expect_same(a, read_safetensors(latest_snapshot(scratch.path() / "parts")));

  const std::vector<std::string> chosen = snapshot_options(a).freeze.filters;
  ASSERT_EQ(chosen.size(), 10u);
  std::string lists;
  for (const std::string& list : chosen) lists += fmt::format("--freeze '{}' ", list);
  const Ran listed = train("listed", init + lists + "--kimg 0.064");
  ASSERT_EQ(listed.code, 0) << listed.output;
  expect_same(a, read_safetensors(latest_snapshot(scratch.path() / "listed")));

  const Ran refused = train("none", "--freeze 'D:block*:fisher>q50' --kimg 0.064");
  EXPECT_EQ(refused.code, 2);
  EXPECT_MENTIONS(refused.output, "give --init FILE");
  const Ran random = train("none", "--freeze 'D:block*:0' --kimg 0.064");
  EXPECT_EQ(random.code, 2);
  EXPECT_MENTIONS(random.output, "frozen but random");
  const Ran other = tool(
      "gan-train",
      fmt::format("--outdir '{}/parts' --resume latest --freeze 'D:block1.c1:0' --threads 1", scratch.path().string()));
  EXPECT_EQ(other.code, 2);
  EXPECT_MENTIONS(other.output, "--freeze differs from the run");
}

TEST(FilterRun, TheMethodFreezesHalfOfBothNetworks) {
  const Scratch scratch;
  TrainOptions o = tiny_options(write_images(scratch / "data", 8));
  o.init = "source.safetensors";
  o.method_names = {"fisher"};
  o.freeze.fisher_batches = 2;
  settle_methods(o, {});
  EXPECT_EQ(o.freeze.patterns, (std::vector<std::string>{"D:*:fisher>q50", "G:*:fisher>q50"}));
  TinyRun run(o, scratch / "run");
  choose_by_methods(run.state, run.options, run.data);
  EXPECT_EQ(run.state.discriminator().parameters().find("b8.conv0.weight")->rows()->count(), 4);
  EXPECT_EQ(run.state.generator().parameters().find("synthesis.b8.conv0.weight")->rows()->count(), 4);
  EXPECT_EQ(run.state.role("D").adam->second_moment(0).dim(0), 4);
  run.iterate(3);
}

// Half of D's filters: as many launches, of half of the rows.
TEST(FilterRun, EveryWeightGradientIsStillOneLaunch) {
  const auto launches = [](const std::vector<std::string>& patterns) {
    TrainOptions o = TrainOptions::of("sngan");
    o.model = SnganOptions{.height = 32, .z_dim = 4, .ch = 8};
    o.batch = o.batch_gpu = 2;
    o.freeze.patterns = patterns;
    TrainState state(o, Device::cpu());
    Reals noise(o, state);
    Iteration iteration(o, state, nullptr, noise);
    const LaunchCounter counter;
    iteration.run_phase(1, 1);
    return std::tuple(counter["conv_backward_weights"], counter["conv_backward_data"], counter["pick_channels"]);
  };
  EXPECT_EQ(launches({"D:block*:0-7"}), std::tuple(20, 2 * 8 + 3, 20));
  EXPECT_EQ(launches({}), std::tuple(20, 2 * 8 + 3, 0));
}

}  // namespace
}  // namespace firn
