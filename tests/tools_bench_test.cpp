// bench/gpu.sh in small on the CPU: a script that is to run once, on a machine that is lent by the hour, must not fail
// there.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tools_support.h"

namespace fs = std::filesystem;
namespace firn {
namespace {

TEST(GpuScript, RecordsEveryPartAlsoThoseThatFail) {
  if (!fs::exists(tool_path("op_bench"))) GTEST_SKIP() << "the benchmarks are not built";
  if (shell("command -v python3").code != 0) GTEST_SKIP() << "this machine has no python3";
  const Scratch scratch;
  const fs::path out = scratch / "gpu.json";
  const std::string script = std::string(FIRN_TEST_DATA) + "/../bench/gpu.sh";
  const Ran ran = shell(fmt::format(
      "BIN='{}' OUT='{}' OMP_WAIT_POLICY=passive '{}' --device cpu --tiny --only '^(step|freeze|ops-rest|ncu)'",
      FIRN_BINARY_DIR, out.string(), script));
  ASSERT_EQ(ran.code, 0) << ran.output;
  const auto json = nlohmann::json::parse(read_text(out));
  std::map<std::string, std::string> status;
  for (const auto& part : json["parts"]) status[part["name"]] = part["status"];
  EXPECT_EQ(status["step-16-256-4"], "passed");
  EXPECT_EQ(status["ops-rest"], "passed");
  EXPECT_TRUE(status.contains("ncu-1"));
  ASSERT_EQ(json["freeze"].size(), 3);  // none, one, one with its features cached
  EXPECT_EQ(json["freeze"][1]["frozen_blocks"], 1);
  EXPECT_GT(json["steps"][0]["cycle_images_per_s"], 0);
  EXPECT_GT(json["ops"][0]["median_us"], 0);
  EXPECT_MENTIONS(ran.output, "beside PyTorch at its best");

  const Ran broken =
      shell(fmt::format("BIN=/no/such OUT='{}' '{}' --device cpu --tiny --only '^step'", out.string(), script));
  EXPECT_EQ(broken.code, 0) << broken.output;
  EXPECT_EQ(nlohmann::json::parse(read_text(out))["parts"][0]["status"], "not installed");
}

}  // namespace
}  // namespace firn
