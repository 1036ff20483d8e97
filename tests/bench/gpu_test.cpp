// bench/gpu.sh in small on the CPU, and what travels with it: a script that is to run once, on a machine that is lent
// by the hour, must not fail there.
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/tools/tools_support.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

std::string bench_path(const std::string& name) { return std::string(FIRN_TEST_DATA) + "/../bench/" + name; }

class GpuScript : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(tool_path("op_bench"))) GTEST_SKIP() << "the benchmarks are not built";
    if (shell("command -v python3").code != 0) GTEST_SKIP() << "this machine has no python3";
  }
  Ran script(const std::string& options, const std::string& bin = FIRN_BINARY_DIR) const {
    return shell(fmt::format("BIN='{}' OUT='{}' WORK='{}' OMP_WAIT_POLICY=passive '{}' --device cpu --tiny {}", bin,
                             out().string(), (scratch_ / "work").string(), bench_path("gpu.sh"), options));
  }
  fs::path out() const { return scratch_ / "gpu.json"; }
  nlohmann::json result() const { return nlohmann::json::parse(read_text(out())); }
  std::map<std::string, std::string> status() const {
    std::map<std::string, std::string> all;
    const auto json = result();
    for (const auto& part : json["parts"]) all[part["name"]] = part["status"];
    return all;
  }
  Scratch scratch_;
};

TEST_F(GpuScript, RecordsEveryPartAlsoThoseThatFail) {
  const Ran ran =
      script("--only '^(version|libraries|describe|sanitizer-races|step|freeze|ops-rest|ncu-(fir|worst-1))'");
  ASSERT_EQ(ran.code, 0) << ran.output;
  auto how = status();
  for (const char* part : {"version", "libraries", "step-16-256-4", "ops-rest", "ncu-fir", "ncu-worst-1"})
    EXPECT_EQ(how[part], "passed") << part;
  EXPECT_EQ(how["describe"], "failed");  // there is no GPU
  EXPECT_TRUE(how.contains("sanitizer-races"));
  const auto json = result();
  ASSERT_EQ(json["freeze"].size(), 3);  // none, one, one with its features cached
  EXPECT_EQ(json["freeze"][1]["frozen_blocks"], 1);
  EXPECT_GT(json["steps"][0]["cycle_images_per_s"], 0);
  EXPECT_GT(json["ops"][0]["median_us"], 0);
  EXPECT_MENTIONS(ran.output, "beside PyTorch at its best");
  // What needs a GPU ran through its stand-in, as it would be called.
  EXPECT_MENTIONS(json["ncu"]["ncu-fir"].get<std::string>(), "upfirdn2d_blur");
  EXPECT_MENTIONS(read_text(scratch_ / "work/parts/ncu-fir.out"), "stand-in for ncu: --clock-control none");
}

TEST_F(GpuScript, GoesOnWithoutAnyProgram) {
  const Ran ran = script("--only '^(check|step)'", "/no/such");
  EXPECT_EQ(ran.code, 0) << ran.output;
  for (const auto& [name, how] : status()) EXPECT_EQ(how, "not installed") << name;
}

TEST_F(GpuScript, IsNoSuccessWithoutAResult) {
  std::ofstream(scratch_ / "python") << "#!/bin/sh\nexit 1\n";
  fs::permissions(scratch_ / "python", fs::perms::owner_all);
  const Ran ran = shell(fmt::format("PYTHON='{}' OUT='{}' WORK='{}' '{}' --device cpu --tiny --only '^smi$'",
                                    (scratch_ / "python").string(), out().string(), (scratch_ / "work").string(),
                                    bench_path("gpu.sh")));
  EXPECT_EQ(ran.code, 1) << ran.output;
  EXPECT_MENTIONS(ran.output, "what the parts said is in");
}

TEST_F(GpuScript, RefusesWhatIsNoDeviceAndNoTime) {
  for (const char* options : {"--device gpu", "--seconds soon", "--seconds 0", "--seconds"}) {
    const Ran ran = script(options);
    EXPECT_EQ(ran.code, 2) << ran.output;
    EXPECT_MENTIONS(ran.output, "gpu.sh: ");
  }
  EXPECT_FALSE(fs::exists(scratch_ / "work"));
}

TEST_F(GpuScript, AsksWhetherItIsRightBeforeHowFastAndWhy) {
  const std::string names = script("--list").output;
  size_t before = 0;
  for (const char* name : {"libraries", "tests-updates", "tests-sm90-smallest", "describe", "sanitizer-ops",
                           "tests-replay", "check-f32", "warm-up-16-256-4", "ceilings", "step-16-256-4", "freeze-0",
                           "ops-layers", "torch-eager", "torch-graphs", "ncu-wgmma"}) {
    const size_t at = ("\n" + names).find(fmt::format("\n{}\n", name));
    EXPECT_NE(at, names.npos) << name;
    EXPECT_GE(at, before) << name;
    before = at;
  }
  EXPECT_FALSE(fs::exists(out()));
}

TEST_F(GpuScript, SaysWhatIsLeftWhenTimeRunsOutAndResumes) {
  const Ran first = script("--only '^(smi|version)$' --seconds 15");
  EXPECT_EQ(first.code, 0) << first.output;
  EXPECT_EQ(status(), (std::map<std::string, std::string>{{"smi", "passed"}, {"version", "no time left"}}));
  EXPECT_MENTIONS(first.output, "no time was left for: version");
  EXPECT_MENTIONS(first.output, "--resume runs them");
  const Ran second = script("--only '^(smi|version)$' --resume");
  EXPECT_EQ(second.code, 0) << second.output;
  EXPECT_EQ(status(), (std::map<std::string, std::string>{{"smi", "passed"}, {"version", "passed"}}));
  EXPECT_EQ(second.output.find("smi    "), second.output.find("smi", second.output.find("Parts"))) << second.output;
  const Ran third = script("--only nothing");
  EXPECT_EQ(third.code, 1);
  EXPECT_MENTIONS(third.output, "no part is called nothing");
}

TEST_F(GpuScript, ReadsWhatTheProfilerSays) {
  fs::create_directories(scratch_ / "parts");
  std::ofstream(scratch_ / "parts/ncu-wgmma.out")
      << "==PROF== Connected to process 7\n"
         "\"ID\",\"Process ID\",\"Kernel Name\",\"Metric Name\",\"Metric Unit\",\"Metric Value\"\n"
         "\"0\",\"7\",\"void tile_kernel<firn::kernels::ModulatedConvSm90<2>>(T1)\",\"gpu__time_duration.sum\",\"ns\","
         "\"1,250\"\n"
         "\"0\",\"7\",\"void tile_kernel<firn::kernels::ModulatedConvSm90<2>>(T1)\","
         "\"lts__throughput.avg.pct_of_peak_sustained_elapsed\",\"%\",\"61.5\"\n";
  const Ran ran = shell(fmt::format("python3 '{}' write --work '{}' --out '{}' --device cpu",
                                    bench_path("gpu_report.py"), (scratch_ / "parts").string(), out().string()));
  ASSERT_EQ(ran.code, 0) << ran.output;
  const auto row = result()["ncu"]["ncu-wgmma"][0];
  EXPECT_EQ(row["gpu__time_duration.sum"], 1250);
  EXPECT_EQ(row["lts__throughput.avg.pct_of_peak_sustained_elapsed"], 61.5);
  EXPECT_MENTIONS(ran.output, "ModulatedConvSm90<2>>  1.25     -  61.5");
}

TEST_F(GpuScript, WrongOptionsOfItsProgramsAreWrongUsage) {
  for (const char* command :
       {"ceilings --describe", "train_bench --no-own-kernels nothing", "train_bench --batch -3", "op_bench --layers"}) {
    const Ran ran = shell(std::string(FIRN_BINARY_DIR) + "/" + command);
    EXPECT_EQ(ran.code, 2) << ran.output;
  }
  EXPECT_EQ(shell(tool_path("train_bench") + " --help").code, 0);
}

TEST_F(GpuScript, AGpuIsNeededToDescribeIt) {
  const Ran ran = tool("ceilings", fmt::format("--describe '{}'", out().string()));
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.lines(), 1) << ran.output;
  EXPECT_MENTIONS(ran.output, "there is no GPU to describe");
  EXPECT_FALSE(fs::exists(out()));
}

TEST(Bundle, RunsWhereThereIsNothingElse) {
  for (const char* program : {"gan-train", "gan-sample", "gan-data", "gan-check", "gan-metrics", "op_bench"})
    if (!fs::exists(tool_path(program))) GTEST_SKIP() << program << " is not built";
  const Scratch scratch;
  const std::string bare = (scratch / "bare").string();
  const Ran made =
      shell(fmt::format("'{}' --build '{}/..' --out '{}/b.tar'", bench_path("bundle"), FIRN_BINARY_DIR, bare));
  if (shell(tool_path("gan-train") + " --version").output.find(" MPI,") != std::string::npos) {
    EXPECT_MENTIONS(made.output, "a bundle is made of a build without FIRN_MPI");
    return;
  }
  ASSERT_EQ(made.code, 0) << made.output;
  EXPECT_MENTIONS(made.output, "MiB");
  ASSERT_EQ(shell(fmt::format("tar -C '{0}' -xf '{0}/b.tar'", bare)).code, 0);
  const std::string alone = fmt::format("cd '{}' && env -i ", bare);
  const Ran version = shell(alone + "firn/bin/gan-check --version");
  EXPECT_EQ(version.code, 0) << version.output;
  const Ran step = shell(alone +
                         "OMP_WAIT_POLICY=passive firn/bin/train_bench --device cpu --resolution 8 --channel-base 64 "
                         "--batch 2 --mapping-layers 1 --warm-up 0 --repeats 1 --threads 1 --json");
  EXPECT_EQ(step.code, 0) << step.output;
  EXPECT_MENTIONS(step.output, "images_per_s");
  // What metrics load by its name comes from there, too, with what it needs.
  for (const char* folder : {"a", "b"}) write_images(scratch / folder, 8, 16);
  const Ran fid = shell(
      fmt::format("cd '{}' && env -i LD_DEBUG=libs OMP_WAIT_POLICY=passive firn/bin/gan-metrics '{}' '{}' --metrics "
                  "fid8_full-pixels,swd8_full --threads 1 2>&1 | grep -E 'calling init|_full|needs|gan-metrics:'",
                  bare, (scratch / "a").string(), (scratch / "b").string()));
  EXPECT_MENTIONS(fid.output, "fid8_full-pixels ");
  EXPECT_MENTIONS(fid.output, "swd8_full ");
  for (const char* library : {"libopenblas.so.0", "libgfortran.so"}) {
    const size_t at = fid.output.find(library), line = fid.output.rfind('\n', at) + 1;
    ASSERT_NE(at, fid.output.npos) << library << "\n" << fid.output;
    EXPECT_MENTIONS(fid.output.substr(line, at - line), "firn/bin/../lib/");
  }
  const Ran whole = shell(fmt::format("'{0}/firn/bench/libraries' '{0}/firn/bin' --inside '{0}/firn'", bare));
  EXPECT_EQ(whole.code, 0) << whole.output;

  // A library less is told.
  ASSERT_GT(shell(fmt::format("rm -v '{}'/firn/lib/libfmt*", bare)).lines(), 0);
  const Ran less = shell(fmt::format("'{0}/firn/bench/libraries' '{0}/firn/bin' --inside '{0}/firn'", bare));
  EXPECT_EQ(less.code, 1);
  EXPECT_MENTIONS(less.output, "libfmt");
}

}  // namespace
}  // namespace firn
