// gan-train plans for a GPU that is only described.
#include <gtest/gtest.h>

#include "tests/tools_support.h"

namespace firn {
namespace {

struct Ahead : testing::Test {
  Scratch scratch;
  std::filesystem::path data = write_images(scratch / "data", 4);
  Ran plan_for(const std::string& description) const {
    return shell(fmt::format("XDG_CACHE_HOME='{}' '{}' --plan-for '{}' --outdir '{}' --data '{}' --precision fp32 "
                             "--batch 4 --channel-base 64",
                             (scratch / "cache").string(), tool_path("gan-train"), description,
                             (scratch / "runs").string(), data.string()));
  }
};

TEST_F(Ahead, ARunIsPlannedOnceAndLeavesNoFolder) {
  const Ran first = plan_for(std::string(FIRN_DEVICES) + "/sm_90.json");
  EXPECT_EQ(first.code, 0) << first.output;
  EXPECT_EQ(first.output.find("planned 0 operations"), std::string::npos) << first.output;
  const Ran second = plan_for(std::string(FIRN_DEVICES) + "/sm_90.json");
  EXPECT_NE(second.output.find("planned 0 operations"), std::string::npos) << second.output;
  EXPECT_FALSE(std::filesystem::exists(scratch / "runs"));
}

TEST_F(Ahead, ADescriptionThatIsNoneIsOneLineOfError) {
  std::ofstream(scratch / "none.json") << "{}";
  for (const char* name : {"none.json", "missing.json"}) {
    const Ran ran = plan_for((scratch / name).string());
    EXPECT_EQ(ran.code, 1) << ran.output;
    EXPECT_NE(ran.output.find("gan-train: "), std::string::npos) << ran.output;
  }
}

}  // namespace
}  // namespace firn
