// gan-metrics from outside: folders, zips, snapshots and runs, what it writes, and what it says to nonsense.
#include <nlohmann/json.hpp>

#include "metrics/metric.h"
#include "tests/metrics/metrics_support.h"
#include "tests/tools/tools_support.h"
#include "training/run/metric_log.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

struct GanMetrics : testing::Test {
  Scratch scratch;
  std::string at(const char* name) const { return fmt::format("'{}'", (scratch / name).string()); }

  void expect_one_line(const std::string& arguments, int code, const std::string& part) {
    const Ran ran = tool("gan-metrics", arguments);
    EXPECT_EQ(ran.code, code) << arguments << "\n" << ran.output;
    EXPECT_EQ(ran.lines(), 1) << ran.output;
    EXPECT_MENTIONS(ran.output, part);
  }
};

TEST_F(GanMetrics, ComparesFolders) {
  for (const char* folder : {"a", "b"})
    for (int i = 0; i < 20; ++i) {
      fs::create_directories(scratch / folder);
      save_png(scratch / folder / fmt::format("{:02}.png", i), smooth_image(i));
    }
  const Ran ran =
      tool("gan-metrics", fmt::format("{} {} --metrics fid-pixels,prdc20n3-pixels --json {} --neighbours {}", at("a"),
                                      at("b"), at("f.json"), at("n.png")));
  ASSERT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, "fid20_full-pixels");  // no more images than there are
  EXPECT_MENTIONS(ran.output, "MEMORISED: copies 100 %");
  const auto json = nlohmann::json::parse(read_text(scratch / "f.json"));
  ASSERT_EQ(json.size(), 3u);
  EXPECT_NEAR(json[0]["results"]["fid20_full-pixels"].get<double>(), 0, 1e-6);
  EXPECT_EQ(json[1]["results"]["prdc20n3-pixels_precision"], 1);
  EXPECT_EQ(json[2]["memorised"], true);
  EXPECT_TRUE(fs::exists(scratch / "n.png"));
}

TEST_F(GanMetrics, ScoresEverySnapshotOfARunAsTheRunDid) {
  write_images(scratch / "data", 16);
  const Ran trained = tool("gan-train", tiny_train(scratch, "--metrics fid20_full-pixels"));
  ASSERT_EQ(trained.code, 0) << trained.output;
  const fs::path run = latest_snapshot(scratch / "runs").parent_path();
  const auto own = MetricLog(run).curves().at("fid20_full-pixels").points;
  EXPECT_EQ(own.size(), 4u);
  fs::remove(run / "metric-fid20_full-pixels.jsonl");

  const std::string command = fmt::format("'{}' --metrics fid20_full-pixels --threads 1", run.string());
  const Ran first = tool("gan-metrics", command);
  ASSERT_EQ(first.code, 0) << first.output;
  EXPECT_EQ(MetricLog(run).curves().at("fid20_full-pixels").points, own);
  const Ran again = tool("gan-metrics", command);  // nothing is measured twice
  EXPECT_EQ(again.output.find("snapshot-"), std::string::npos) << again.output;
  EXPECT_EQ(MetricLog(run).curves().at("fid20_full-pixels").points, own);

  const Ran plotted = tool("gan-metrics", fmt::format("'{}' --plot {}", run.string(), at("curves.svg")));
  EXPECT_EQ(plotted.code, 0) << plotted.output;
  EXPECT_MENTIONS(read_text(scratch / "curves.svg"), "fid20_full-pixels");

  const Ran snapshot =
      tool("gan-metrics", fmt::format("'{0}' {1} --metrics swd20_full,fid20_full-pixels", run.string(), at("data")));
  EXPECT_EQ(snapshot.code, 0) << snapshot.output;
  expect_one_line(fmt::format("'{}' {} --metrics ppl2_8_wend-squeezenet", run.string(), at("data")), 1,
                  "squeezenet1_1-b8a52dc0.pth");
}

TEST_F(GanMetrics, MeasuresOfEachSnapshotWhatIsMissing) {
  write_images(scratch / "data", 16);
  const Ran trained = tool("gan-train", tiny_train(scratch, "--metrics fid20_full-pixels,mind20_full-pixels"));
  ASSERT_EQ(trained.code, 0) << trained.output;
  const fs::path run = latest_snapshot(scratch / "runs").parent_path();
  const auto own = MetricLog(run);
  const auto without_line = [&](const char* name, size_t number) {
    std::istringstream text(read_text(run / name));
    std::string kept;
    for (std::string line; std::getline(text, line);)
      if (number-- != 0) kept += line + "\n";
    write_text(run / name, kept);
  };
  without_line("metric-fid20_full-pixels.jsonl", 0);
  without_line("metric-mind20_full-pixels.jsonl", 1);
  const Ran ran = tool("gan-metrics", fmt::format("'{}' --threads 1", run.string()));
  ASSERT_EQ(ran.code, 0) << ran.output;
  for (const char* name : {"fid20_full-pixels", "mind20_full-pixels"})
    EXPECT_EQ(MetricLog(run).curves().at(name).points, own.curves().at(name).points) << name;
}

TEST_F(GanMetrics, WritesToNoRunThatAnotherProcessUsesAndCutsWhatItTore) {
  write_images(scratch / "data", 16);
  const Ran trained = tool("gan-train", tiny_train(scratch, "--metrics fid20_full-pixels"));
  ASSERT_EQ(trained.code, 0) << trained.output;
  const fs::path run = latest_snapshot(scratch / "runs").parent_path(), file = run / "metric-fid20_full-pixels.jsonl";
  std::string text = read_text(file);
  text.resize(text.size() - 20);  // killed while it wrote
  write_text(file, text);
  const std::string arguments = fmt::format("'{}' --threads 1", run.string());
  {
    const DirectoryLock training(run);
    expect_one_line(arguments, 1, "another process is using it");
    EXPECT_EQ(read_text(file), text);
  }
  const Ran ran = tool("gan-metrics", arguments);
  EXPECT_EQ(ran.code, 0) << ran.output;
  const MetricLog log(run);
  EXPECT_TRUE(log.remarks().empty());
  EXPECT_EQ(log.curves().at("fid20_full-pixels").points.size(), 4u);
  EXPECT_EQ(std::ranges::count(read_text(file), '\n'), 4);
}

TEST_F(GanMetrics, SaysInOneLineWhatIsWrong) {
  write_images(scratch / "a", 6, 16);
  write_images(scratch / "other", 6, 32);
  fs::create_directories(scratch / "empty");
  put(scratch / "broken.safetensors", "nothing");
  expect_one_line("", 2, "give a run");
  expect_one_line(at("a"), 1, "is no run folder");
  expect_one_line(fmt::format("{0} {0} {0}", at("a")), 2, "--plot");
  expect_one_line(fmt::format("{} {}", at("a"), at("empty")), 1, "there are no images in it");
  expect_one_line(fmt::format("{} {}", at("a"), at("nowhere")), 1, "nowhere");
  expect_one_line(fmt::format("{} {}", at("broken.safetensors"), at("a")), 1, "broken.safetensors");
  expect_one_line(fmt::format("{0} {0} --metrics nonsense", at("a")), 2, "there is no metric nonsense");
  expect_one_line(fmt::format("{0} {0} --metrics ''", at("a")), 2, "--metrics: a name is empty");
  expect_one_line(fmt::format("{0} {0} --metrics fid6_holdout-pixels", at("a")), 2,
                  "fid6_holdout-pixels: only a run knows what it left out: give its folder alone");
  expect_one_line(fmt::format("{0} {0} --metrics fid", at("a")), 1, "pt_inception-2015-12-05-6726825d.pth");
  expect_one_line(fmt::format("{0} {0} --features {1}", at("a"), at("broken.safetensors")), 1, "broken.safetensors");
  expect_one_line(fmt::format("{0} {0} --metrics ppl2_8_wend-pixels", at("a")), 1, "lpips");
  expect_one_line(fmt::format("{} --plot {}", at("a"), at("x.svg")), 1, "is no run folder");
  expect_one_line(fmt::format("{0} {0} --precision fp8", at("a")), 2, "--precision fp8");
}

// One measure that cannot be made costs no other.
TEST_F(GanMetrics, SaysAllThatItCould) {
  write_images(scratch / "a", 6, 16);
  write_images(scratch / "other", 6, 32);
  put(scratch / "a/class0/broken.png", "\x89PNG\r\n\x1a\n and nothing");
  const Ran ran =
      tool("gan-metrics", fmt::format("{} {} --metrics swd,fid-pixels,prdc6n9-pixels", at("other"), at("a")));
  EXPECT_EQ(ran.code, 1) << ran.output;
  EXPECT_MENTIONS(ran.output, "fid6_full-pixels ");
  EXPECT_MENTIONS(ran.output, "copies ");
  EXPECT_MENTIONS(ran.output, "skipped class0/broken.png: ");
  EXPECT_MENTIONS(ran.output, "other sizes: their scales cannot be compared (and 1 more)");
}

TEST_F(GanMetrics, NamesAllMetrics) {
  const Ran ran = tool("gan-metrics", "--list");
  EXPECT_EQ(ran.code, 0);
  for (const Metric& m : metrics()) EXPECT_MENTIONS(ran.output, m.name + " ");
}

}  // namespace
}  // namespace firn
