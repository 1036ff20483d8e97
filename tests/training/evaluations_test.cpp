// What a run measures of itself: when, what it writes, which snapshot it keeps as the best, and when it ends.
#include "training/run/evaluations.h"

#include <nlohmann/json.hpp>

#include "io/files.h"
#include "tests/training/training_support.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

struct EvaluationsTest : testing::Test {
  Scratch scratch;
  TrainOptions options = [this] {
    TrainOptions o = tiny_options(write_images(scratch / "data", 24));
    o.metrics.names = {"fid16_full-pixels", "kid16_full-pixels"};
    return o;
  }();

  static std::vector<nlohmann::json> lines(const fs::path& file) {
    std::istringstream text(read_text(file));
    std::vector<nlohmann::json> all;
    for (std::string line; std::getline(text, line);) all.push_back(nlohmann::json::parse(line));
    return all;
  }
};

TEST_F(EvaluationsTest, WriteALineEachBesideTheSnapshots) {
  TinyRun run(options, scratch / "run");
  ASSERT_EQ(run.run(), Outcome::finished);
  const auto found = lines(scratch / "run/metric-fid16_full-pixels.jsonl");
  ASSERT_EQ(found.size(), 4u);  // ticks 1 to 3 and the end
  for (const nlohmann::json& line : found) {
    EXPECT_EQ(line["metric"], "fid16_full-pixels");
    EXPECT_TRUE(std::isfinite(line["results"]["fid16_full-pixels"].get<double>()));
    EXPECT_EQ(line["better"]["fid16_full-pixels"], "lower");
    EXPECT_EQ(line["network"], "pixels");
    EXPECT_TRUE(fs::exists(scratch / "run" / line["snapshot_pkl"].get<std::string>()));
  }
  EXPECT_TRUE(fs::exists(scratch / "run/neighbours.png"));
  EXPECT_MENTIONS(run.output, "copies ");
  EXPECT_MENTIONS(run.output, "fid16_full-pixels  best ");
  EXPECT_MENTIONS(run.output, " / final ");
}

TEST_F(EvaluationsTest, HaveAScheduleOfTheirOwn) {
  options.metrics.every = 2;
  TinyRun run(options, scratch / "run");
  run.run();
  EXPECT_EQ(lines(scratch / "run/metric-kid16_full-pixels.jsonl").size(), 2u);  // tick 2 and the end
}

TEST_F(EvaluationsTest, KeepTheBestSnapshot) {
  options.keep = 1;
  TinyRun run(options, scratch / "run");
  run.run();
  const MetricLog log = MetricLog::of(scratch / "run");
  const auto best = log.curves().at("fid16_full-pixels").best();
  ASSERT_TRUE(best);
  const SafetensorsFile file = read_safetensors(best_path(scratch / "run"));
  EXPECT_EQ(file.at("state.counters").to_doubles()[0], double(best->first));
}

// Measuring changes nothing of the run.
TEST_F(EvaluationsTest, LeaveTheRunAsItIs) {
  TinyRun with(options, scratch / "with");
  with.run();
  options.metrics.names = {};
  TinyRun without(options, scratch / "without");
  without.run();
  const auto a = read_safetensors(latest_path(scratch / "with")),
             b = read_safetensors(latest_path(scratch / "without"));
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) EXPECT_EQ(tensor.bytes, b.at(name).bytes) << name;
}

TEST_F(EvaluationsTest, OfAResumedRunGoOnFromItsSnapshot) {
  TinyRun whole(options, scratch / "whole");
  whole.run();
  const auto expected = lines(scratch / "whole/metric-fid16_full-pixels.jsonl");

  // Killed after the evaluation of a snapshot that is not there any more, in the middle of a line.
  fs::create_directories(scratch / "cut");
  const fs::path file = scratch / "cut/metric-fid16_full-pixels.jsonl";
  std::string text;
  for (int i = 0; i < 3; ++i) text += expected[size_t(i)].dump() + "\n";
  write_text(file, text + "{\"results\": {\"fid");
  const fs::path second = snapshot_path(scratch / "whole", expected[1]["images"].get<int64_t>());
  TinyRun resumed(options, scratch / "cut", second);
  resumed.run();
  const auto got = lines(file);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i]["results"], expected[i]["results"]) << i;
}

TEST_F(EvaluationsTest, EndARunThatGetsNoBetter) {
  // Left-out images are of no use here: the value that is looked at is made to stay.
  options.metrics.names = {"fid16_full-pixels"};
  options.metrics.stop_when = "fid16_full-pixels:no-better:2";
  options.lr = 1e-30;
  options.kimg = 1;
  TinyRun run(options, scratch / "run");
  EXPECT_EQ(run.run(), Outcome::finished);
  EXPECT_LT(run.state.counters.images, 200);
  EXPECT_MENTIONS(run.output, "--stop-when fid16_full-pixels:no-better:2 ends the run at");
}

TEST_F(EvaluationsTest, EndARunWithASnapshotOfItsEnd) {
  options.metrics.names = {"fid16_full-pixels"};
  options.metrics.stop_when = "fid16_full-pixels:no-better:1";
  options.metrics.every = 1;
  options.snap = 1000;
  options.lr = 1e-30;
  options.kimg = 1;
  TinyRun run(options, scratch / "run");
  EXPECT_EQ(run.run(), Outcome::finished);
  EXPECT_TRUE(fs::exists(snapshot_path(scratch / "run", run.state.counters.images)));
}

TEST_F(EvaluationsTest, CompareWithWhatWasLeftOut) {
  options.data.holdout = {.count = 8};
  options.metrics.names = {"fid16_full-pixels", "fid16_holdout-pixels"};
  TinyRun run(options, scratch / "run");
  EXPECT_EQ(run.data->size(), 16);
  run.run();
  EXPECT_EQ(lines(scratch / "run/metric-fid16_holdout-pixels.jsonl").size(), 4u);
  EXPECT_MENTIONS(run.output, "D: trained on ");
  EXPECT_MENTIONS(run.output, "overfitting ");
}

TEST_F(EvaluationsTest, ThatCannotBeMadeAreRefusedBeforeTheRun) {
  const auto refused = [&](const std::string& name, const std::string& part) {
    options.metrics.names = {name};
    try {
      require_metrics(options);
      ADD_FAILURE() << name;
    } catch (const Error& e) {
      EXPECT_MENTIONS(std::string(e.what()), part);
    }
  };
  unsetenv("FIRN_WEIGHTS");
  refused("fid16_holdout-pixels", "--holdout");
  refused("fid16_full", "pt_inception-2015-12-05-6726825d.pth");
  refused("pr16n3", "vgg16-397923af.pth");
  refused("nonsense", "there is no metric nonsense");
  put(scratch / "weights.safetensors", "no weights");
  options.metrics.features = {(scratch / "weights.safetensors").string()};
  refused("fid16_full", "weights.safetensors");
}

TEST_F(EvaluationsTest, ThatFailAreALineAndNotTheEnd) {
  options.metrics.names = {"prdc16n30_full-pixels", "fid16_full-pixels"};  // more neighbours than images
  TinyRun run(options, scratch / "run");
  EXPECT_EQ(run.run(), Outcome::finished);
  EXPECT_MENTIONS(run.output,
                  "metrics    failed: prdc16n30_full-pixels: 30 nearest neighbours need more than 30 images");
  EXPECT_EQ(lines(scratch / "run/metric-fid16_full-pixels.jsonl").size(), 4u);
}

}  // namespace
}  // namespace firn
