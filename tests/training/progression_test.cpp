// --vision-progressive: networks are probed and join, the best snapshot of a stage is carried on with its optimisers,
// and a run that is stopped or killed anywhere ends with the same bits.
#include "training/run/progression.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "tests/models/features_support.h"
#include "tests/tools/tools_support.h"
#include "training/methods/method.h"
#include "training/methods/vision_aided.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

TEST(BestOfProbed, IsTheFirstOfEquals) {
  EXPECT_EQ(best_of({{"a", {0.7}}, {"b", {0.9}}, {"c", {0.9}}}).network, "b");
  EXPECT_MENTIONS(to_string({{.images = 500, .of = 400, .probed = {{"a", {0.75, 0.01}}, {"b", {0.5, 0.02}}}}}),
                  "at 0.5 kimg");
}

// Eight images of 32 pixels, out of two networks.
struct Progressive : testing::Test {
  Scratch scratch;
  Progressive() {
    write_images(scratch / "data", 8, 32);
    write_safetensors(scratch / "squeezenet.safetensors", formula_weights("squeezenet/1"));
    write_safetensors(scratch / "mobilenetv2.safetensors", formula_weights("mobilenetv2/1"));
    setenv("FIRN_WEIGHTS", scratch.path().c_str(), 1);
  }
  ~Progressive() { unsetenv("FIRN_WEIGHTS"); }
  std::string arguments(const std::string& runs, const std::string& more) const {
    return fmt::format(
        "--outdir '{0}/{1}' --data '{0}/data' --model sngan --ch 1 --batch 4 --n-dis 1 --grid 2x2 --tick 0.008 "
        "--snap 1 --precision fp32 --threads 1 {2}",
        scratch.path().string(), runs, more);
  }
  static constexpr const char* stages =
      "--vision-size 64 --vision-progressive 2 --vision-kimg 0.016,0.016 --vision-baseline 0.012 ";
  Ran train(const std::string& runs, const std::string& more) const { return tool("gan-train", arguments(runs, more)); }
  Ran resume(const std::string& runs, const std::string& more = "") const {
    return tool("gan-train",
                fmt::format("--outdir '{}/{}' --resume latest --threads 1 {}", scratch.path().string(), runs, more));
  }
  fs::path run_of(const std::string& runs) const { return latest_snapshot(scratch / runs).parent_path(); }
  nlohmann::json record(const std::string& runs) const {
    return nlohmann::json::parse(read_text(run_of(runs) / "probe.json"))["stages"];
  }
  void expect_same(const std::string& a, const std::string& b) const {
    const SafetensorsFile first = read_safetensors(latest_snapshot(scratch / a)),
                          second = read_safetensors(latest_snapshot(scratch / b));
    ASSERT_EQ(first.tensors.size(), second.tensors.size());
    for (const auto& [name, tensor] : first.tensors) EXPECT_EQ(tensor.bytes, second.at(name).bytes) << name;
    EXPECT_EQ(record(a), record(b));
    for (const char* file : {"stats.jsonl", "metric-fid8_full-pixels.jsonl"}) {
      const auto lines = [&](const std::string& runs) {
        const std::string text = read_text(run_of(runs) / file);
        return std::ranges::count(text, '\n');
      };
      EXPECT_EQ(lines(a), lines(b)) << file;
    }
  }
};

TEST_F(Progressive, NetworksJoinBehindABaselineAndTheBestOfAStageIsCarriedOn) {
  const Ran ran = train("runs", std::string(stages) + "--metrics fid8_full-pixels");
  ASSERT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, "2 of squeezenet, mobilenetv2 join one after another");
  EXPECT_MENTIONS(ran.output, "done: 0.0 kimg");
  const nlohmann::json stages = record("runs");
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[0]["images"], 12);
  EXPECT_EQ(stages[0]["of"], 12);  // the baseline's last
  EXPECT_EQ(stages[0]["networks"].size(), 2u);
  EXPECT_EQ(stages[1]["images"], 28);
  ASSERT_EQ(stages[1]["networks"].size(), 1u);
  EXPECT_TRUE(stages[1]["networks"][0]["chosen"]);
  const double accuracy = stages[0]["networks"][0]["accuracy"];
  EXPECT_GE(accuracy, 0);
  EXPECT_LE(accuracy, 1);

  // Of the evaluations in the first stage, behind 12 images, the best one's weights go on.
  int64_t best = -1;
  double least = INFINITY;
  const std::string metrics = read_text(run_of("runs") / "metric-fid8_full-pixels.jsonl");
  std::istringstream lines(metrics);
  for (std::string line; std::getline(lines, line);) {
    const auto record = nlohmann::json::parse(line);
    const int64_t images = record["images"];
    const double value = record["results"]["fid8_full-pixels"];
    if (images > 12 && images <= 28 && value < least) std::tie(best, least) = std::pair(images, value);
  }
  EXPECT_EQ(stages[1]["of"], best);

  const TrainOptions o = snapshot_options(read_safetensors(latest_snapshot(scratch / "runs")));
  const VisionAided& v = o.method<VisionAided>();
  const std::string first = stages[0]["networks"][0]["chosen"] ? "squeezenet" : "mobilenetv2";
  EXPECT_EQ(v.networks, first == "squeezenet" ? "squeezenet+mobilenetv2" : "mobilenetv2+squeezenet");
  EXPECT_EQ(v.stage_began, 28);
  EXPECT_EQ(v.unsmoothed, "");  // DiffAugment
  const SafetensorsFile middle = read_safetensors(snapshot_path(run_of("runs"), 28));
  EXPECT_TRUE(has_network(middle, "vision-" + first));
  EXPECT_EQ(snapshot_options(middle).method<VisionAided>().networks, first);
}

// A run in this process: each call goes on from what the folder holds.
struct ProgressiveParts : Progressive {
  TrainOptions options = tiny_options(write_images(scratch / "tiny", 8));
  std::set<std::string> joined;

  void begin(const std::string& runs, DType activations) {
    ModelBasics b = options.model.basics();
    b.activation_type = activations;
    options.model.set(b);
    options.metrics.names = {"fid8_full-pixels"};
    options.batch_gpu = 2;
    options.methods = TrainOptions::of("stylegan2").methods;
    auto& v = options.method<VisionAided>() = {.aug = "ada", .size = 64, .progressive = 2};
    v.baseline_kimg = 0.008;
    v.stage_kimg = {0.016, 0.012};
    settle_methods(options, {});
    plan_progression(options);
    fs::create_directories(dir(runs));
    TrainState state(options, Device::cpu());
    begin_progression(dir(runs), options, state);
  }
  fs::path dir(const std::string& runs) const { return scratch / runs / "00000-tiny"; }
  Outcome go_on(const std::string& runs, int64_t until = INT64_MAX, int signal = 0) {
    const SafetensorsFile latest = read_safetensors(latest_path(dir(runs)));
    TrainOptions now = snapshot_options(latest);
    now.data.path = options.data.path;
    std::optional<TrainState> state(std::in_place, now, Device::cpu());
    restore(*state, latest);
    joined.insert(now.method<VisionAided>().networks);
    rewind_stats(dir(runs), state->counters.tick);
    const std::atomic<int> stop = signal;
    RunLog log(dir(runs), AppendFile::Start::append);
    testing::internal::CaptureStdout();
    const Outcome outcome = train_progressively(now, state, std::make_shared<const Dataset>(now.data), log,
                                                {.dir = dir(runs), .in_place = true, .stop = &stop, .until = until});
    testing::internal::GetCapturedStdout();
    return outcome;
  }
  // Goes on until each of these, once stopped and once left: a stop meets the end of a stage in its probe.
  void expect_the_same_in_parts(DType activations, const std::vector<int64_t>& ends) {
    begin("whole", activations);
    ASSERT_EQ(go_on("whole"), Outcome::finished);
    begin("parts", activations);
    for (const int64_t until : ends) {
      EXPECT_EQ(go_on("parts", until, SIGTERM), Outcome::stopped) << until;
      EXPECT_EQ(go_on("parts", until), Outcome::finished) << until;
    }
    EXPECT_EQ(joined.size(), 3u);
    expect_same("whole", "parts");
  }
};

TEST_F(ProgressiveParts, StoppedInAndBetweenStagesEndTheSame) {
  expect_the_same_in_parts(DType::f32, {4, 8, 16, 24, 28, 36});
}

TEST_F(ProgressiveParts, InBf16EndTheSame) { expect_the_same_in_parts(DType::bf16, {8, 24, 36}); }

TEST_F(Progressive, KilledInAStageResumesToTheSameEnd) {
  ASSERT_EQ(train("source", "--kimg 0.008 --metrics none").code, 0);
  const std::string how = fmt::format(
      "--init '{}' --vision-size 64 --vision-progressive 2 --vision-kimg 0.016,0.016 --vision-aug ada --metrics "
      "fid8_full-pixels",
      latest_snapshot(scratch / "source").string());
  const Ran whole = train("whole", how);
  ASSERT_EQ(whole.code, 0) << whole.output;
  EXPECT_EQ(record("whole")[0]["images"], 0);  // of the source
  const pid_t child = start("gan-train", arguments("parts", how));
  const auto under_way = [&] {
    try {
      return fs::exists(snapshot_path(run_of("parts"), 12));
    } catch (const IoError&) {
      return false;
    }
  };
  for (int i = 0; i < 1000 && !under_way(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  kill(child, SIGKILL);
  ASSERT_EQ(wait_for(child), 128 + SIGKILL);
  const Ran resumed = resume("parts");
  ASSERT_EQ(resumed.code, 0) << resumed.output;
  expect_same("whole", "parts");
  EXPECT_MENTIONS(resume("parts").output, "nothing to do: 0.032 of 0.032 kimg are done");
  const Ran next = train(
      "next", fmt::format("--init '{}' --kimg 0.008 --metrics none", snapshot_path(run_of("parts"), 16).string()));
  EXPECT_EQ(next.code, 0) << next.output;
}

TEST_F(Progressive, WithoutAMetricTheLastWeightsGoOnAndOnlyWhatALineTellsApartIsSmoothed) {
  const Ran ran = train("runs", std::string(stages) + "--vision-aug ada --metrics none");
  ASSERT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, "--metrics none measures nothing, so the last snapshot of the stage is carried on");
  EXPECT_EQ(record("runs")[1]["of"], 28);
  std::string unsmoothed;
  for (const nlohmann::json& stage : record("runs"))
    for (const nlohmann::json& n : stage["networks"])
      if (n["chosen"] && n["accuracy"] <= 0.9)
        unsmoothed += (unsmoothed.empty() ? "" : "+") + n["network"].get<std::string>();
  EXPECT_EQ(snapshot_options(read_safetensors(latest_snapshot(scratch / "runs"))).method<VisionAided>().unsmoothed,
            unsmoothed);
}

TEST_F(Progressive, WhatCannotBeIsOneLine) {
  const auto expect = [&](const std::string& given, const std::string& line, int size = 64) {
    const Ran ran = train("none", fmt::format("{} --vision-size {}", given, size));
    EXPECT_EQ(ran.code, 2) << ran.output;
    EXPECT_EQ(ran.lines(), 1) << ran.output;
    EXPECT_MENTIONS(ran.output, line);
  };
  expect("--vision-progressive 4", "--vision-kimg has 3 for --vision-progressive 4");
  expect("--vision-progressive 2 --vision-kimg 4,soon", "--vision-kimg 4,soon: expected thousands of images");
  expect("--vision-progressive 2 --vision-kimg 4,-1", "--vision-kimg 4,-1: expected");
  expect("--vision-progressive 2 --kimg 3", "--kimg 3: the stages of --vision-progressive take 5500 together");
  expect("--vision-progressive 2 --vision-aided squeezenet", "give one of them");
  expect("--vision-kimg 4,1", "goes with --method vision-aided");
  expect("--vision-aided squeezenet --vision-bank squeezenet", "--vision-bank goes with --vision-progressive");
  expect("--vision-progressive 1 --vision-bank vgg61", "there is no feature network \"vgg61\"");
  expect("--vision-progressive 1 --vision-bank squeezenet+squeezenet", "names a network twice");
  expect("--vision-progressive 2 --metrics fid1k_full-squeezenet",
         "finds weights of mobilenetv2 alone; --metrics measures with squeezenet, which would judge itself");
  expect("--vision-progressive 1 --metrics fid1k_full-squeezenet --vision-bank squeezenet", "which would judge itself");
  expect("--vision-progressive 1 --metrics fid1k_full-pixels --vision-bank dino-vit-b16",
         "takes images of 224 rows alone");
  expect("--vision-progressive 1 --metrics fid1k_full-pixels --vision-bank squeezenet",
         "squeezenet: a map of 1x1 is too small to be judged", 32);
  expect("--vision-progressive 1 --metrics fid1k_full-pixels --stop-when fid1k_full-pixels:no-better:2",
         "would end a stage of --vision-progressive");
}

}  // namespace
}  // namespace firn
