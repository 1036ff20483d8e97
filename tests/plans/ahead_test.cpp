// gan-train plans for a GPU that is only described.
#include <gtest/gtest.h>

#include "kernels/choice/cudnn_planner.h"
#include "tests/tools/tools_support.h"

namespace firn {
namespace {

struct Ahead : testing::Test {
  Scratch scratch;
  std::filesystem::path data = write_images(scratch / "data", 4);
  Ran plan_for(const std::string& description) const {
    return shell(fmt::format(
        "XDG_CACHE_HOME='{}' '{}' --plan-for '{}' --outdir '{}' --data '{}' --precision fp32 "
        "--batch 4 --channel-base 64",
        (scratch / "cache").string(), tool_path("gan-train"), description, (scratch / "runs").string(), data.string()));
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

// There is no driver here: a call that wants one would throw.
TEST(DryRun, NotesEveryConvolutionAndNeedsNoGpu) {
  const Device dry = Device::dry();
  const StyleGan2Options options{.height = 32, .channel_base = 1024, .channel_max = 64, .activation_type = DType::bf16};
  Subject s(options, dry);
  Rng rng{.seed = 1};
  const LaunchCounter counter;
  for (const Phase& phase : s.phases)
    s.run(phase.name,
          batch_of({{"z", randn({4, 512}, rng, DType::f32, dry)},
                    {"images", randn({4, 32, 32, 3}, rng, DType::f32, dry)},
                    {"pl_noise", randn({4, 32, 32, 3}, rng, DType::f32, dry)}}),
          0, &rng);
  std::map<std::string, int> kinds;
  for (const auto& o : kernels::cudnn::take_noted()) ++kinds[o.name.substr(0, o.name.find(' '))];
  for (const char* kind : {"conv_forward", "conv_backward_data", "conv_backward_weights", "conv_bias_act"})
    EXPECT_GT(kinds[kind], 3) << kind;
  EXPECT_GT(counter["conv_forward"], 0);
  EXPECT_TRUE(kernels::cudnn::take_noted().empty());
}

TEST_F(Ahead, ADescriptionThatIsNoneIsOneLineOfError) {
  std::ofstream(scratch / "none.json") << "{}";
  std::ofstream(scratch / "little.json") << R"({"deviceName": "little", "deviceVer": 900})";
  std::ofstream(scratch / "long.json") << fmt::format(R"({{"deviceName": "{:x<5000}", "deviceVer": 900}})", "");
  for (const char* name : {"none.json", "little.json", "long.json", "missing.json"}) {
    const Ran ran = plan_for((scratch / name).string());
    EXPECT_EQ(ran.code, 1) << ran.output;
    EXPECT_NE(ran.output.find("gan-train: "), std::string::npos) << ran.output;
    EXPECT_NE(ran.output.find(name, ran.output.find("gan-train: ")), std::string::npos) << ran.output;
  }
}

TEST_F(Ahead, WherePlansCannotBeKeptIsAnError) {
  std::ofstream(scratch / "cache") << "in the way";
  const Ran ran = plan_for(std::string(FIRN_DEVICES) + "/sm_90.json");
  EXPECT_EQ(ran.code, 1) << ran.output;
  EXPECT_NE(ran.output.find("plans cannot be written to " + (scratch / "cache").string()), std::string::npos)
      << ran.output;
}

TEST_F(Ahead, DamagedPlansAreMadeAnew) {
  const std::string gpu = std::string(FIRN_DEVICES) + "/sm_90.json";
  plan_for(gpu);
  for (const auto& entry : std::filesystem::directory_iterator(scratch / "cache" / "firn" / "plans"))
    std::ofstream(entry.path()) << "not gzip";
  const Ran again = plan_for(gpu), last = plan_for(gpu);
  EXPECT_EQ(again.output.find("planned 0 operations"), std::string::npos) << again.output;
  EXPECT_NE(last.output.find("planned 0 operations"), std::string::npos) << last.output;
}

}  // namespace
}  // namespace firn
