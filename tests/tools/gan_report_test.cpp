// gan-report and gan-train --report from outside.
#include "tests/tools/tools_support.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

struct GanReport : testing::Test {
  Scratch scratch;
  fs::path run = scratch / "00000-run";
  void SetUp() override {
    put(run / "training_options.json", "{\"kimg\": 4}");
    put(run / "stats.jsonl", "{\"Progress/kimg\": {\"mean\": 1}, \"Loss/G/loss\": {\"mean\": 2}}\n");
  }

  void expect_one_line(const std::string& arguments, int code, const std::string& part) {
    const Ran ran = tool("gan-report", arguments);
    EXPECT_EQ(ran.code, code) << arguments << "\n" << ran.output;
    EXPECT_EQ(ran.lines(), 1) << ran.output;
    EXPECT_MENTIONS(ran.output, part);
  }
};

TEST_F(GanReport, WritesOnePage) {
  const fs::path page = scratch / "page.html";
  const Ran ran = tool("gan-report", fmt::format("'{}/' '{}'", run.string(), page.string()));
  EXPECT_EQ(ran.code, 0) << ran.output;
  EXPECT_MENTIONS(ran.output, "wrote");
  EXPECT_MENTIONS(read_text(page), "<h1>00000-run</h1>");
}

TEST_F(GanReport, WrongArgumentsAreOneLine) {
  const std::string d = scratch.path().string(), r = run.string();
  expect_one_line("", 2, "RUN... OUT.html");
  expect_one_line(fmt::format("'{}'", r), 2, "is a folder");
  expect_one_line(fmt::format("'{0}' '{0}'", r), 2, "is a folder");
  expect_one_line(fmt::format("'{}/page.html'", d), 2, "no run is given");
  expect_one_line(fmt::format("'{0}' '{0}/training_options.json'", r), 2, "does not end in .html");
  expect_one_line(fmt::format("'{}' '{}/no/such/page.html'", r, d), 1, "no/such");
  expect_one_line(fmt::format("'{0}' '{0}/page.html'", d), 1, "no run folder");
  expect_one_line(fmt::format("'{0}/nowhere' '{0}/page.html'", d), 1, "does not exist");
  EXPECT_FALSE(fs::exists(scratch / "page.html"));
}

TEST_F(GanReport, IsRenewedByTraining) {
  write_images(scratch / "data", 16);
  const Ran ran = tool("gan-train", tiny_train(scratch, "--report"));
  ASSERT_EQ(ran.code, 0) << ran.output;
  const fs::path trained = latest_snapshot(scratch / "runs").parent_path();
  const std::string page = read_text(trained / "report.html");
  EXPECT_MENTIONS(page, "0.128 kimg, done");
  EXPECT_MENTIONS(page, "Loss of D");

  // A page that cannot be written is a line; the run goes on.
  fs::remove(trained / "report.html");
  fs::create_directories(trained / "report.html/x");
  const Ran on = tool("gan-train", tiny_train(scratch, "--resume latest --kimg 0.16"));
  EXPECT_EQ(on.code, 0) << on.output;
  EXPECT_MENTIONS(on.output, "the report was not renewed: ");
  EXPECT_MENTIONS(on.output, "done: 0.2 kimg");

  const Ran without = tool("gan-train", tiny_train(scratch, "--resume latest --kimg 0.192 --no-report"));
  EXPECT_EQ(without.code, 0) << without.output;
  EXPECT_EQ(without.output.find("report was not"), std::string::npos);
}

}  // namespace
}  // namespace firn
