// What a run measures of itself: when, what it writes, which snapshot it keeps as the best, and when it ends.
#include "training/run/evaluations.h"

#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "io/files.h"
#include "tests/training/training_support.h"
#include "training/run/run_folder.h"
#include "training/step/reals.h"

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

  // A run folder as a kill leaves it: the snapshot `number` of a finished run is the latest, and its first lines are
  // there, of each metric so many.
  std::vector<nlohmann::json> fid, kid;
  std::vector<fs::path> snapshots;
  fs::path whole = scratch / "whole", cut = scratch / "cut";
  void cut_after(size_t number, size_t fid_lines, size_t kid_lines) {
    TinyRun run(options, whole);
    ASSERT_EQ(run.run(), Outcome::finished);
    fid = lines(whole / "metric-fid16_full-pixels.jsonl");
    kid = lines(whole / "metric-kid16_full-pixels.jsonl");
    for (const auto& [images, path] : run_snapshots(whole)) snapshots.push_back(path);
    ASSERT_EQ(snapshots.size(), 4u);
    fs::create_directories(cut);
    const auto first = [&](const std::vector<nlohmann::json>& all, size_t n, const char* name) {
      std::string text;
      for (size_t i = 0; i < n; ++i) text += all[i].dump() + "\n";
      write_text(cut / name, text);
    };
    first(fid, fid_lines, "metric-fid16_full-pixels.jsonl");
    first(kid, kid_lines, "metric-kid16_full-pixels.jsonl");
    fs::copy_file(snapshots[number], latest_path(cut));
  }
  void expect_the_same_lines() const {
    for (const auto& [name, expected] :
         {std::pair{"metric-fid16_full-pixels.jsonl", &fid}, {"metric-kid16_full-pixels.jsonl", &kid}}) {
      const auto got = lines(cut / name);
      ASSERT_EQ(got.size(), expected->size()) << name;
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(got[i]["results"], (*expected)[i]["results"]) << name << i;
        EXPECT_EQ(got[i]["images"], (*expected)[i]["images"]) << name << i;
      }
    }
  }
  static double images_of(const fs::path& snapshot) {
    return read_safetensors(snapshot).at("state.counters").to_doubles()[0];
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
  const MetricLog log(scratch / "run");
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

TEST_F(EvaluationsTest, OfWhichAKillLeftSomeAreCompletedAndNotRepeated) {
  cut_after(1, 2, 1);
  write_text(cut / "metric-kid16_full-pixels.jsonl",
             read_text(cut / "metric-kid16_full-pixels.jsonl") + "{\"results\": {\"kid");
  TinyRun resumed(options, cut, latest_path(cut));
  resumed.in_place = true;
  ASSERT_EQ(resumed.run(), Outcome::finished);
  expect_the_same_lines();
}

TEST_F(EvaluationsTest, ThatAStopRequestBreaksOffAreMadeUp) {
  options.kimg = 0.004;  // the first iteration is the last, and its evaluation the only one
  const std::atomic<int> stop = SIGTERM;
  TinyRun run(options, scratch / "run");
  EXPECT_EQ(run.run(&stop), Outcome::stopped);
  EXPECT_MENTIONS(run.output, "metrics    broken off");
  EXPECT_EQ(run.output.find("done: "), run.output.npos) << run.output;
  EXPECT_FALSE(fs::exists(scratch / "run/metric-fid16_full-pixels.jsonl"));
  const std::string summary = read_text(scratch / "run/summary.json");

  TinyRun again(options, scratch / "run", latest_path(scratch / "run"));
  again.in_place = true;
  EXPECT_EQ(again.run(&stop), Outcome::stopped);  // as often as one likes
  TinyRun last(options, scratch / "run", latest_path(scratch / "run"));
  last.in_place = true;
  EXPECT_EQ(last.run(), Outcome::finished);
  EXPECT_MENTIONS(last.output, "fid16_full-pixels  best ");
  EXPECT_MENTIONS(last.output, "nothing to do: ");
  for (const char* name : {"metric-fid16_full-pixels.jsonl", "metric-kid16_full-pixels.jsonl"})
    EXPECT_EQ(lines(scratch / "run" / name).size(), 1u) << name;
  EXPECT_EQ(read_text(scratch / "run/summary.json"), summary);
  EXPECT_EQ(images_of(best_path(scratch / "run")), 4);
}

// Whatever is measured, each piece of images that it reads is a moment to stop; nothing is written then.
TEST_F(EvaluationsTest, CanStopWithinEachPieceOfImages) {
  options.data.holdout = {.count = 8};
  for (const char* name : {"fid16_full-pixels", "swd16_full"}) {
    options.metrics.names = {name};
    TinyRun run(options, scratch / name);
    int pieces = 0, stop_at = 1;
    const auto progress = [&](const std::string&, int64_t, int64_t) {
      if (++pieces == stop_at) throw LoadingStopped{};
    };
    EventFile events(scratch / name);
    const fs::path file = scratch / name / fmt::format("metric-{}.jsonl", name);
    for (bool stopped = true; stopped; stop_at *= 2) {
      pieces = 0;
      stopped = false;
      Evaluations evaluations(options, run.state, run.data, run.dir, progress, {}, std::make_shared<Team>(alone()));
      try {
        evaluations.evaluate(events);
      } catch (const LoadingStopped&) {
        stopped = true;
      }
      EXPECT_EQ(fs::exists(file), !stopped);
    }
    EXPECT_GT(pieces, 6) << name;  // reals, left-out and generated ones, for the metric and for D
  }
}

// It was killed behind a better evaluation than any up to the snapshot that it goes on with.
TEST_F(EvaluationsTest, KeepNoBestSnapshotOfADiscardedFuture) {
  cut_after(1, 2, 2);
  const auto best = std::min_element(fid.begin(), fid.begin() + 2, [](const auto& a, const auto& b) {
    return a["results"]["fid16_full-pixels"] < b["results"]["fid16_full-pixels"];
  });
  fs::copy_file(snapshots[3], best_path(cut));
  options.kimg = 0.001;  // nothing is left to train
  const auto resume = [&] {
    TinyRun run(options, cut, latest_path(cut));
    run.in_place = true;
    EXPECT_EQ(run.run(), Outcome::finished);
    return run.output;
  };
  const fs::path numbered = cut / (*best)["snapshot_pkl"].get<std::string>();
  const bool is_latest = (*best)["images"] == images_of(latest_path(cut));
  if (!is_latest) {
    EXPECT_MENTIONS(resume(),
                    fmt::format("is of {:g} kimg, beyond where the run goes on", images_of(snapshots[3]) / 1e3));
    EXPECT_EQ(images_of(best_path(cut)), images_of(snapshots[3]));
    fs::copy_file(whole / numbered.filename(), numbered);
  }
  const std::string said = resume();
  EXPECT_EQ(said.find("beyond"), said.npos) << said;
  EXPECT_EQ(images_of(best_path(cut)), (*best)["images"].get<double>());
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

  const std::string summary = read_text(scratch / "run/summary.json");
  TinyRun again(options, scratch / "run", latest_path(scratch / "run"));
  again.in_place = true;
  EXPECT_EQ(again.run(), Outcome::finished);
  EXPECT_MENTIONS(again.output, "nothing to do: --stop-when fid16_full-pixels:no-better:2 ended the run at");
  EXPECT_EQ(again.output.find("done: "), again.output.npos) << again.output;
  EXPECT_EQ(read_text(scratch / "run/summary.json"), summary);
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

TEST_F(EvaluationsTest, TakeTheNetworkThatTheFolderOfWeightsHas) {
  const auto settled = [&](std::vector<std::string> names, const WeightFiles& files = {}) {
    settle_networks(names, files);
    return fmt::format("{}", fmt::join(names, " "));
  };
  const std::string given = "fid5k_full swd pr100n3-pixels fid5k_full-inception fid5k_full-freezed-legacy ppl2_wend";
  const auto names = [&] {
    std::vector<std::string> all;
    std::istringstream words(given);
    for (std::string word; words >> word;) all.push_back(word);
    return all;
  };
  unsetenv("FIRN_WEIGHTS");
  EXPECT_EQ(settled(names()), given);
  put(scratch / "weights/mobilenet_v2-b0353104.pth", "");
  setenv("FIRN_WEIGHTS", (scratch / "weights").c_str(), 1);
  EXPECT_EQ(settled(names()), "fid5k_full-mobilenetv2" + given.substr(10));
  EXPECT_EQ(default_metrics({}, 25000), std::vector<std::string>{"fid5k_full-mobilenetv2"});
  put(scratch / "weights/inception.pth", "");
  EXPECT_EQ(settled(names()), given);
  unsetenv("FIRN_WEIGHTS");
}

TEST_F(EvaluationsTest, WeightsOfLpipsAloneAreNoNetworkForFid) {
  SafetensorsFile heads;
  const std::vector<float> values(128);
  heads.tensors["lin1.weight"] = StoredTensor::of(std::span<const float>(values), {1, 128, 1, 1});
  write_safetensors(scratch / "vgg.safetensors", heads);
  unsetenv("FIRN_WEIGHTS");
  EXPECT_EQ(default_metrics({.features = {(scratch / "vgg.safetensors").string()}}, 25000),
            std::vector<std::string>{"swd5k_full"});
}

TEST_F(EvaluationsTest, ThatFailAreALineAndNotTheEnd) {
  options.metrics.names = {"prdc16n30_full-pixels", "fid16_full-pixels"};  // more neighbours than images
  TinyRun run(options, scratch / "run");
  EXPECT_EQ(run.run(), Outcome::finished);
  EXPECT_MENTIONS(run.output,
                  "metrics    failed: prdc16n30_full-pixels: 30 nearest neighbours need more than 30 images");
  EXPECT_EQ(lines(scratch / "run/metric-fid16_full-pixels.jsonl").size(), 4u);
}

TEST(MetricLog, CutsWhatLiesBeyondAndNothingElse) {
  const Scratch scratch;
  const fs::path file = scratch / "metric-fid5.jsonl";
  const std::string known = R"({"results":{"fid5":3},"images":10})"
                            "\n",
                    foreign = R"({"results":{"fid5":2},"snapshot_pkl":"final.pkl"})"
                              "\n[1]\n",
                    beyond = R"({"results":{"fid5":1},"images":30})"
                             "\n";
  write_text(file, known + foreign + beyond);
  const MetricLog all(scratch / "");
  EXPECT_EQ(all.curves().at("fid5").points.size(), 2u);
  EXPECT_EQ(all.remarks().size(), 1u);
  EXPECT_EQ(read_text(file), known + foreign + beyond);
  const MetricLog before(scratch / "", 20);
  EXPECT_EQ(before.curves().at("fid5").points.size(), 1u);
  EXPECT_EQ(read_text(file), known + foreign);
}

}  // namespace
}  // namespace firn
