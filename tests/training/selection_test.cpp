// --freeze-d auto: which depths are tried, which go on, what it costs, and that the run afterwards is one of the depth
// that was found.
#include "training/run/selection.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "models/sngan/sngan.h"
#include "tests/tools/tools_support.h"
#include "training/report/page.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

// Depths with the scores that they have after so many images.
struct Halving {
  Selection selection{.metric = "fid", .depths = {0, 2, 4, 6}, .first = 100};
  std::map<std::pair<int, int64_t>, double> scores = {{{0, 100}, 40}, {{2, 100}, 30}, {{4, 100}, 20}, {{6, 100}, 50},
                                                      {{2, 200}, 18}, {{4, 200}, 19}, {{0, 200}, 35}, {{6, 200}, 33}};
  std::vector<std::pair<int, int64_t>> attempts;
  int most_attempts = 100;  // then it is interrupted

  int run() {
    return halve(
        selection,
        [&](int blocks, int64_t images) {
          if (std::ssize(attempts) == most_attempts) throw std::runtime_error("interrupted");
          attempts.emplace_back(blocks, images);
          return Trial{.blocks = blocks, .images = images, .score = scores.at({blocks, images})};
        },
        [] {});
  }
  std::vector<int> going_on(int64_t images) const {
    std::vector<int> depths;
    for (const Trial& t : selection.trials)
      if (t.images == images && t.goes_on) depths.push_back(t.blocks);
    return depths;
  }
};

TEST(Halving, TheBetterHalfGoesOnUntilOneIsLeft) {
  Halving h;
  EXPECT_EQ(h.run(), 2);
  EXPECT_EQ(h.attempts,
            (std::vector<std::pair<int, int64_t>>{{0, 100}, {2, 100}, {4, 100}, {6, 100}, {2, 200}, {4, 200}}));
  EXPECT_EQ(h.going_on(100), (std::vector<int>{2, 4}));
  EXPECT_EQ(h.going_on(200), std::vector<int>{2});
  const std::string table = to_string(h.selection);
  EXPECT_MENTIONS(table, "selection  by fid, lower is better\n");
  EXPECT_MENTIONS(table, "          0      0.1          40  dropped\n");
  EXPECT_MENTIONS(table, "          2      0.2          18  goes on\n");
}

TEST(Halving, ScoresMayBeBetterWhereTheyAreHigher) {
  Halving h;
  h.selection.better = Better::higher;
  EXPECT_EQ(h.run(), 0);
  EXPECT_EQ(h.going_on(100), (std::vector<int>{0, 6}));
}

TEST(Halving, AmongEqualsTheDepthThatTrainsLessGoesOn) {
  Halving h;
  for (auto& [of, score] : h.scores) score = 7;
  EXPECT_EQ(h.run(), 6);
}

TEST(Halving, OfThreeTwoGoOn) {
  Halving h;
  h.selection.depths = {0, 2, 4};
  EXPECT_EQ(h.run(), 2);
  EXPECT_EQ(h.going_on(100), (std::vector<int>{2, 4}));
}

TEST(Halving, OneThatIsInterruptedAnywhereRepeatsNothing) {
  Halving whole;
  whole.run();
  for (int at = 0; at < 6; ++at) {
    Halving h;
    h.most_attempts = at;
    EXPECT_THROW(h.run(), std::runtime_error);
    h.most_attempts = 100;
    EXPECT_EQ(h.run(), 2);
    EXPECT_EQ(h.attempts, whole.attempts);
    EXPECT_EQ(to_string(h.selection), to_string(whole.selection));
  }
}

TEST(Halving, WhatHasNoScoreDoesNotGoOn) {
  Halving h;
  h.scores[{2, 100}] = h.scores[{4, 100}] = h.scores[{6, 100}] = NAN;
  EXPECT_EQ(h.run(), 0);
  EXPECT_EQ(h.attempts.size(), 4u);  // one is left, and needs no second look
  Halving none;
  for (auto& [of, score] : none.scores) score = NAN;
  EXPECT_MENTIONS(message_of<Error>([&] { none.run(); }), "--freeze-d auto: at no depth could it be measured");
}

TEST(PlanOfASelection, HasAtMostFourDepthsFromNothingToAll) {
  TrainOptions o = tiny_options("data");
  o.kimg = 1000;
  const auto depths = [&](int blocks) { return plan_selection(o, blocks).depths; };
  EXPECT_EQ(depths(1), (std::vector<int>{0, 1}));
  EXPECT_EQ(depths(2), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(depths(4), (std::vector<int>{0, 1, 3, 4}));
  EXPECT_EQ(depths(6), (std::vector<int>{0, 2, 4, 6}));
  EXPECT_MENTIONS(message_of<ConfigError>([&] { depths(0); }), "there is none to freeze");
}

TEST(PlanOfASelection, MeasuresByWhatTheRunMeasuresOfLeftOutImages) {
  unsetenv("FIRN_WEIGHTS");
  TrainOptions o = tiny_options("data");
  o.kimg = 1000;
  const auto metric = [&](std::vector<std::string> names) {
    o.metrics.names = std::move(names);
    return plan_selection(o, 4).metric;
  };
  EXPECT_EQ(metric({}), "swd5k_holdout");
  EXPECT_EQ(metric({"fid1k_full-pixels"}), "swd5k_holdout");
  EXPECT_EQ(metric({"fid1k_full-pixels", "kid1k_holdout-pixels", "fid1k_holdout-pixels"}), "kid1k_holdout-pixels");
  o.kimg = 20;
  EXPECT_EQ(metric({"fid1k_holdout-pixels"}), "fid200_holdout-pixels");  // of 1248 images
}

TEST(PlanOfASelection, CostsAQuarterOfTheImagesAtMost) {
  TrainOptions o = tiny_options("data");
  for (const double kimg : {1.0, 20.0, 300.0})
    for (const int blocks : {1, 2, 3, 4, 5, 6, 7, 8}) {
      o.kimg = kimg;
      const Selection s = plan_selection(o, blocks);
      EXPECT_LE(double(s.lost_images()), 0.25 * kimg * 1000);
      EXPECT_GT(double(s.lost_images() + 6 * o.batch), 0.25 * kimg * 1000 * 0.9);
      EXPECT_EQ(s.first % o.batch, 0);
    }
  o.kimg = 0.06;
  EXPECT_MENTIONS(message_of<ConfigError>([&] { plan_selection(o, 4); }), "less than a batch each");
}

TrainOptions tiny_stylegan2(const fs::path& data, DType activations) {
  TrainOptions o = tiny_options(data);
  ModelBasics b = o.model.basics();
  b.images = {16, 16, 3};
  b.activation_type = activations;
  o.model.set(b);
  o.kimg = 0.096;  // 24 iterations: two until the first halving
  return o;
}

TrainOptions tiny_sngan(const fs::path& data) {
  TrainOptions o = TrainOptions::of("sngan");
  o.data = {.path = data, .use_labels = false};
  o.model = SnganOptions{.height = 32, .z_dim = 4, .ch = 1};
  o.batch = o.batch_gpu = 2;
  o.kimg = 0.128;
  o.kimg_per_tick = 0.03;
  o.snap = 1;
  o.grid_columns = o.grid_rows = 2;
  return o;
}

struct SelectionRun : testing::Test {
  Scratch scratch;
  TrainOptions options = tiny_stylegan2(write_images(scratch / "data", 16, 16), DType::f32);
  int chosen = -1;
  std::string output;

  void SetUp() override { settle(); }
  void settle() {
    unsetenv("FIRN_WEIGHTS");
    options.data.holdout = {.count = 4};
    options.metrics.names = {"fid16_holdout-pixels"};
    options.freeze.blocks = -1;
    options.snap = 1000;
  }
  void begin(const fs::path& dir) {
    const TrainState state(options, Device::cpu());
    fs::create_directories(dir);
    begin_selection(dir, options, state, plan_selection(options, freezable_blocks(state.discriminator())));
  }
  // Goes on; false: stopped.
  bool select(const fs::path& dir, const std::atomic<int>* stop = nullptr) {
    if (!fs::exists(dir)) begin(dir);
    RunLog log(dir, AppendFile::Start::append);
    testing::internal::CaptureStdout();
    struct Captured {
      std::string& text;
      ~Captured() { text = testing::internal::GetCapturedStdout(); }
    } captured{output};
    chosen = select_depth(options, Device::cpu(), std::make_shared<const Dataset>(options.data), DataMemory::automatic,
                          log, {.dir = dir, .stop = stop})
                 .value_or(-1);
    return chosen >= 0;
  }
  SafetensorsFile finished(const fs::path& dir) {
    TinyRun run(at_depth(options, chosen), dir);
    go_on_from(dir, run.options, run.state);
    forget_candidates(dir);
    run.in_place = true;
    EXPECT_EQ(run.run(), Outcome::finished);
    return read_safetensors(latest_path(dir));
  }
  void expect_the_bits_of_a_plain_run() {
    ASSERT_TRUE(select(scratch / "auto"));
    const SafetensorsFile end = finished(scratch / "auto");
    TinyRun plain(at_depth(options, chosen), scratch / "plain");
    ASSERT_EQ(plain.run(), Outcome::finished);
    expect_same(end, read_safetensors(latest_path(scratch / "plain")));
    EXPECT_EQ(snapshot_options(end).freeze.blocks, chosen);
    EXPECT_EQ(lines(scratch / "auto/stats.jsonl"), lines(scratch / "plain/stats.jsonl"));
  }
  static int64_t lines(const fs::path& file) {
    const std::string text = read_text(file);
    return std::ranges::count(text, '\n');
  }
  static void expect_same(const SafetensorsFile& a, const SafetensorsFile& b) {
    EXPECT_EQ(a.tensors.size(), b.tensors.size());
    for (const auto& [name, tensor] : a.tensors) EXPECT_EQ(tensor.bytes, b.at(name).bytes) << name;
  }
  static int64_t snapshots_in(const fs::path& dir) {
    return std::ranges::count_if(fs::recursive_directory_iterator(dir), [](const fs::directory_entry& entry) {
      return entry.path().extension() == ".safetensors";
    });
  }
};

TEST_F(SelectionRun, EndsWithTheBitsOfARunOfThatDepth) { expect_the_bits_of_a_plain_run(); }

TEST_F(SelectionRun, InBf16EndsWithTheBitsOfARunOfThatDepth) {
  options = tiny_stylegan2(scratch / "data", DType::bf16);
  settle();
  expect_the_bits_of_a_plain_run();
}

TEST_F(SelectionRun, InMicroBatchesWithCachedFeaturesEndsWithTheBitsOfARunOfThatDepth) {
  options.batch_gpu = 2;
  options.cache_features = true;
  expect_the_bits_of_a_plain_run();
}

TEST_F(SelectionRun, OfSnganEndsWithTheBitsOfARunOfThatDepth) {
  options = tiny_sngan(write_images(scratch / "larger", 16, 32));
  settle();
  expect_the_bits_of_a_plain_run();
}

TEST_F(SelectionRun, TellsWhatItFoundAndKeepsNoSnapshotOfIt) {
  ASSERT_TRUE(select(scratch / "run"));
  EXPECT_MENTIONS(output, "selection  by fid16_holdout-pixels, lower is better\n");
  EXPECT_MENTIONS(output, "the others cost 0.024 kimg, 25 % of this run");
  EXPECT_MENTIONS(read_text(scratch / "run/log.txt"), "the others cost");
  EXPECT_EQ(snapshots_in(scratch / "run/selection"), 2);  // of what goes on, by its number and as the latest
  finished(scratch / "run");
  EXPECT_MENTIONS(report_page({read_run(scratch / "run")}), "lower is better\n     blocks     kimg       score\n");
  EXPECT_EQ(snapshots_in(scratch / "run/selection"), 0);
  for (const char* name : {"reals.png", "fakes-init.png", "selection.json", "selection/freeze-d-0/log.txt"})
    EXPECT_TRUE(fs::exists(scratch / "run" / name)) << name;
}

TEST_F(SelectionRun, TwiceFindsTheSame) {
  ASSERT_TRUE(select(scratch / "a"));
  ASSERT_TRUE(select(scratch / "b"));
  EXPECT_EQ(read_text(scratch / "a/selection.json"), read_text(scratch / "b/selection.json"));
}

TEST_F(SelectionRun, StoppedInTrainingAndInMeasuringEndsTheSame) {
  ASSERT_TRUE(select(scratch / "whole"));
  const std::atomic<int> stop = SIGTERM;
  for (const int64_t images : {4, 8, 8}) {  // the first depth, an iteration each; then its images are to be measured
    EXPECT_FALSE(select(scratch / "parts", &stop));
    EXPECT_TRUE(fs::exists(snapshot_path(scratch / "parts/selection/freeze-d-0", images)));
    EXPECT_EQ(nlohmann::json::parse(read_text(scratch / "parts/selection.json"))["trials"].size(), 0u);
  }
  ASSERT_TRUE(select(scratch / "parts"));
  EXPECT_EQ(read_text(scratch / "parts/selection.json"), read_text(scratch / "whole/selection.json"));
  expect_same(finished(scratch / "parts"), finished(scratch / "whole"));
}

TEST_F(SelectionRun, KilledWhileTheRunTakesOverEndsTheSame) {
  ASSERT_TRUE(select(scratch / "whole"));
  ASSERT_TRUE(select(scratch / "parts"));
  fs::rename(scratch / fmt::format("parts/selection/freeze-d-{}/stats.jsonl", chosen), scratch / "parts/stats.jsonl");
  ASSERT_TRUE(select(scratch / "parts"));
  EXPECT_EQ(output.find("tick"), output.npos) << output;
  expect_same(finished(scratch / "parts"), finished(scratch / "whole"));
  EXPECT_EQ(lines(scratch / "parts/stats.jsonl"), lines(scratch / "whole/stats.jsonl"));
}

TEST_F(SelectionRun, ADepthThatDivergesIsDroppedWithANote) {
  begin(scratch / "run");
  TrainState broken(at_depth(options, 1), Device::cpu());
  for (const Parameter& p : broken.discriminator().parameters().trainable()) {
    Tensor weight = p.value();
    weight.copy_from(weight * 1e6);
  }
  broken.counters = {.images = 4, .iteration = 1, .tick = 1, .tick_start = 4};
  fs::create_directories(scratch / "run/selection/freeze-d-1");
  save_snapshot(latest_path(scratch / "run/selection/freeze-d-1"), at_depth(options, 1), broken);
  ASSERT_TRUE(select(scratch / "run"));
  EXPECT_NE(chosen, 1);
  EXPECT_MENTIONS(output, "dropped: the run diverged at 0.0 kimg");
}

// As users run it.
struct GanTrainSelection : testing::Test {
  Scratch scratch;
  fs::path runs = scratch / "runs";
  void SetUp() override {
    write_images(scratch / "data", 16, 16);
    const Ran ran =
        tool("gan-train", tiny_train(scratch, "--kimg 0.008 --outdir '" + (scratch / "source").string() + "'"));
    ASSERT_EQ(ran.code, 0) << ran.output;
  }
  std::string arguments(const std::string& more = "--holdout 4") {
    return tiny_train(
        scratch,
        fmt::format(
            "--init '{}' --kimg 0.192 --snap 1000 --run-name auto --metrics fid16_holdout-pixels --freeze-d auto {}",
            latest_snapshot(scratch / "source").string(), more));
  }
};

TEST_F(GanTrainSelection, KilledInASelectionResumesToTheSameEnd) {
  const pid_t child = start("gan-train", arguments());
  const fs::path second = runs / "00000-auto/selection/freeze-d-1";
  for (int i = 0; i < 500 && !fs::exists(latest_path(second)); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  kill(child, SIGKILL);
  ASSERT_EQ(wait_for(child), 128 + SIGKILL);
  const Ran resumed = tool("gan-train", fmt::format("--outdir '{}' --resume latest --threads 1", runs.string()));
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  const fs::path killed = latest_snapshot(runs);
  const Ran whole = tool("gan-train", arguments());
  ASSERT_EQ(whole.code, 0) << whole.output;
  EXPECT_NE(latest_snapshot(runs), killed);
  EXPECT_EQ(read_bytes(latest_snapshot(runs)), read_bytes(killed));
  EXPECT_MENTIONS(whole.output, "selection  0, 1, 2 blocks of D frozen, by fid16_holdout-pixels at 0.016 kimg");
  EXPECT_MENTIONS(whole.output, "done: 0.2 kimg");
  const Ran over = tool("gan-train", fmt::format("--outdir '{}' --resume latest --threads 1", runs.string()));
  EXPECT_MENTIONS(over.output, "nothing to do: 0.192 of 0.192 kimg are done");
}

TEST_F(GanTrainSelection, WithoutASourceOrLeftOutImagesItIsOneLine) {
  const Ran no_source = tool("gan-train", tiny_train(scratch, "--freeze-d auto --holdout 4"));
  EXPECT_EQ(no_source.code, 2);
  EXPECT_MENTIONS(no_source.output, "--freeze-d auto freezes what a network has learnt; give --init FILE");
  const Ran no_images = tool("gan-train", arguments(""));
  EXPECT_EQ(no_images.code, 2);
  EXPECT_MENTIONS(no_images.output, "--holdout N leaves some out");
  const Ran other = tool("gan-train", arguments("--holdout 4 --freeze-d some"));
  EXPECT_EQ(other.code, 2);
  EXPECT_EQ(other.lines(), 1);
  const Ran dry = tool("gan-train", arguments("--holdout 4 --dry-run"));
  EXPECT_EQ(dry.code, 0) << dry.output;
  EXPECT_MENTIONS(dry.output, "selection  0, 1, 2 blocks of D frozen");
}

}  // namespace
}  // namespace firn
