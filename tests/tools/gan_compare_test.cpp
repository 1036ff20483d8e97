// gan-compare: plans, runs that go on, tables of best and final over seeds.
#include <gtest/gtest.h>

#include "io/files.h"
#include "tests/tools/tools_support.h"
#include "tests/training/training_support.h"
#include "tools/compare_plan.h"
#include "tools/compare_results.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

constexpr const char* kOptions =
    "--cfg small --channel-base 64 --channel-max 4 --z-dim 4 --w-dim 4 --map-depth 1 --batch 4 --kimg 0.016 --tick "
    "0.008 "
    "--grid 2x2 --precision fp32 --threads 1";

std::string plan_text(const std::string& methods, const std::string& more = "") {
  return fmt::format(R"({{"title": "a title",
    "pretrain": {{"name": "source", "data": "data", "options": "{0} --metrics none"}},
    "options": "{0} --metrics swd4",
    "targets": [{{"name": "Own images", "data": "data", "options": "--mirror"}}],
    "methods": [{1}]{2}}})",
                     kOptions, methods, more);
}

struct GanCompare : testing::Test {
  Scratch scratch;
  GanCompare() { write_images(scratch / "data", 6, 16); }
  Ran compare(const std::string& text, const std::string& more = "") {
    write_text(scratch / "plan.json", text);
    return tool("gan-compare", fmt::format("'{0}/plan.json' --out '{0}/out' {1}", scratch.path().string(), more));
  }
  std::string wrong(const std::string& text) {
    return message_of<ConfigError>([&] { tools::parse_plan(text, "plan.json", "."); });
  }
};

TEST_F(GanCompare, RunsEachMethodWithEachSeedAndWritesTables) {
  const std::string plan =
      plan_text(R"({"name": "fine-tuning"}, {"name": "FreezeD 1", "options": "--freeze-d 1"})", R"(, "seeds": [0, 3])");
  const Ran ran = compare(plan, "--jobs 2");
  ASSERT_EQ(ran.code, 0) << ran.output;
  for (const char* id : {"own-images-fine-tuning-seed0", "own-images-freezed-1-seed3"})
    EXPECT_TRUE(fs::exists(scratch / "out/runs" / id / "00000-run/summary.json")) << id;
  const std::string table = read_text(scratch / "out/results.md");
  EXPECT_MENTIONS(table, "# a title");
  EXPECT_MENTIONS(table, "mean ± deviation over 2 seeds");
  EXPECT_MENTIONS(table, "| method | swd4 (lower is better) |");
  EXPECT_EQ(std::ranges::count(read_text(scratch / "out/results.csv"), '\n'), 5);
  for (const char* name : {"results.tex", "report.html", "samples-Own-images.png", "curves-Own-images-swd4.svg"})
    EXPECT_TRUE(fs::exists(scratch / "out" / name)) << name;

  const auto written = fs::last_write_time(scratch / "out/runs/own-images-fine-tuning-seed0/00000-run/summary.json");
  fs::remove(scratch / "out/runs/own-images-freezed-1-seed3/00000-run/summary.json");  // as if it had been cut off
  fs::create_directory(scratch / "out/runs/own-images-freezed-1-seed3/kept");          // somebody's own
  const Ran again = compare(plan);
  ASSERT_EQ(again.code, 0) << again.output;
  EXPECT_EQ(fs::last_write_time(scratch / "out/runs/own-images-fine-tuning-seed0/00000-run/summary.json"), written);
  EXPECT_EQ(read_text(scratch / "out/results.md"), table);
  EXPECT_TRUE(fs::exists(scratch / "out/runs/own-images-freezed-1-seed3/kept"));

  const Ran other = compare(plan_text(R"({"name": "fine-tuning", "options": "--lr 0.1"})"));
  EXPECT_EQ(other.code, 2);
  EXPECT_MENTIONS(other.output, "was begun with other options than the plan has now");
}

TEST_F(GanCompare, OneRunThatFailsDoesNotEndTheOthers) {
  const Ran ran = compare(plan_text(R"({"name": "broken", "options": "--freeze-d 40"}, {"name": "good"})"));
  EXPECT_EQ(ran.code, 1);
  EXPECT_MENTIONS(ran.output, "1 of 2 runs failed, the first: own-images-broken-seed0");
  EXPECT_MENTIONS(ran.output, "cannot freeze 40 blocks");
  EXPECT_TRUE(fs::exists(scratch / "out/runs/own-images-good-seed0/00000-run/summary.json"));
  EXPECT_MENTIONS(read_text(scratch / "out/results.md"), "| broken | - / - |");
}

TEST_F(GanCompare, APlanThatMakesNoSenseIsOneLine) {
  const std::string good = R"({"name": "a"})";
  EXPECT_MENTIONS(wrong(plan_text(good, R"(, "sedes": [1])")), "the plan has no member \"sedes\"");
  EXPECT_MENTIONS(wrong(plan_text(good, R"(, "seeds": [1, 1])")), "a seed comes twice");
  EXPECT_MENTIONS(wrong(plan_text(good, R"(, "seeds": [-1])")), "\"seeds\" should list numbers from 0 on");
  EXPECT_MENTIONS(wrong(plan_text(R"({"name": "a"}, {"name": "A!"})")), "two of \"methods\" are called A!");
  EXPECT_MENTIONS(wrong(plan_text(R"({"name": "a", "options": "--seed 4"})")), "--seed is for gan-compare to say");
  EXPECT_MENTIONS(wrong(plan_text(R"({"name": "a", "options": "--dry-run"})")), "--dry-run is for gan-compare to say");
  EXPECT_MENTIONS(wrong(R"({"title": "t", "source": "s", "methods": [{"name": "b c"}, {"name": "c"}],
                            "targets": [{"name": "a", "data": "d"}, {"name": "a b", "data": "d"}]})"),
                  "two runs would have the folder a-b-c-seed0");
  EXPECT_MENTIONS(wrong(plan_text("")), "\"methods\" should list some");
  EXPECT_MENTIONS(wrong(plan_text(R"({"name": "?"})")), "a name needs a letter or a digit");
  const Ran missing = tool("gan-compare", "no-such-plan --out x");
  EXPECT_EQ(missing.code, 2);
  EXPECT_MENTIONS(missing.output, "there is no plan no-such-plan; there are files and ");
}

TEST(CompareResults, MeansHaveTheDeviationOfASample) {
  const tools::MeanOfSeeds m = tools::mean_of_seeds({10, 12, 17});
  EXPECT_DOUBLE_EQ(m.mean, 13);
  EXPECT_DOUBLE_EQ(m.deviation, std::sqrt((9 + 1 + 16) / 2.0));
  EXPECT_EQ(tools::to_text(m, " ± "), "13.0 ± 3.6");
  EXPECT_EQ(tools::to_text(tools::mean_of_seeds({0.25}), " ± "), "0.250");
  EXPECT_EQ(tools::to_text(tools::mean_of_seeds({}), " ± "), "-");
  EXPECT_EQ(tools::to_text(tools::mean_of_seeds({0.00123}), " ± "), "0.00123");
}

TEST(CompareResults, ATableSaysWhereSeedsAreMissingAndTakesAnyName) {
  tools::ComparePlan plan;
  plan.title = "a|b\n% c";
  plan.targets = {{.name = "100%"}};
  plan.methods = {{.name = "no number"}, {.name = "x|y_z"}, {.name = "b"}};
  plan.seeds = {0, 1};
  const auto line = [](size_t method, int64_t seed, double value) {
    return tools::Results::Line{0, method, seed, "fid", Better::lower, value, 1, value};
  };
  const tools::Results r{.lines = {line(0, 0, NAN), line(0, 1, NAN), line(1, 0, 20), line(1, 1, 22), line(2, 1, 30)}};
  const std::string table = tools::markdown(plan, r), tex = tools::latex(plan, r);
  EXPECT_MENTIONS(table, "# a\\|b % c\n");
  EXPECT_MENTIONS(table, "| x\\|y\\_z | **21.0 ± 1.4** / **21.0 ± 1.4** |");
  EXPECT_MENTIONS(table, "| b | 30.0 (1 of 2 seeds) / 30.0 (1 of 2 seeds) |");
  EXPECT_MENTIONS(tex, "% a|b \\% c: best / final\n");
  EXPECT_MENTIONS(tex, "x|y\\_z & \\textbf{21.0$\\pm$1.4}");
}

TEST(CompareResults, KnownPlansCanBeRead) {
  for (const tools::KnownPlan& known : tools::known_plans())
    EXPECT_FALSE(tools::parse_plan(known.text, known.name, ".").runs().empty()) << known.name;
}

}  // namespace
}  // namespace firn
