// That what was planned once, for a GPU that is only described, need not be planned again.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "kernels/choice/cudnn_planner.h"
#include "kernels/conv/cudnn_conv_graph.h"
#include "kernels/conv/planning.h"
#include "tests/plans/shapes.h"

namespace firn::plans {
namespace {

using namespace kernels::cudnn;
using kernels::plan_store;
namespace fs = std::filesystem;

// A store of this process's own, and the driver that is none.
class Surroundings : public testing::Environment {
  fs::path folder_ = fs::temp_directory_path() / fmt::format("firn-plans-{}", ::getpid());
  void SetUp() override {
    ::setenv("XDG_CACHE_HOME", folder_.c_str(), 1);
    use_no_driver();
  }
  void TearDown() override { fs::remove_all(folder_); }
};
const auto* const surroundings = testing::AddGlobalTestEnvironment(new Surroundings);

std::string description() {
  std::ifstream in(fmt::format("{}/sm_90.json", FIRN_DEVICES));
  return {std::istreambuf_iterator<char>(in), {}};
}

Operation operation(const char* layer, Pass pass, const std::string& name) {
  for (const Layer& l :
       layers({.height = 32, .channel_base = 1024, .channel_max = 64, .activation_type = DType::bf16}, 4))
    if (l.name.ends_with(layer))
      return {name, l.problem.type, true,
              std::make_shared<const Graph>(conv_graph(l.problem, pass, pass != Pass::weights).graph)};
  throw Error("no such layer");
}

std::vector<std::string> prepared(Proposals& proposals) {
  std::vector<std::string> names;
  for (size_t i = 0; i < proposals.size(); ++i)
    if (proposals.prepare(i)) names.push_back(proposals.name(i));
  return names;
}

class Store : public testing::TestWithParam<Pass> {};

TEST_P(Store, PlansComeBackWithTheirWorkspaceAndOrder) {
  const Target target = Target::described(description());
  const Operation o = operation("D b32.conv0", GetParam(), "comes back");
  const std::string key = key_of(o, "a GPU");
  Proposals made(o, target, key);
  EXPECT_FALSE(made.stored());
  const auto names = prepared(made);
  ASSERT_FALSE(names.empty());
  made.store(true);
  Proposals restored(o, target, key);
  EXPECT_TRUE(restored.stored());
  EXPECT_EQ(prepared(restored), names);
  for (size_t i = 0, of_made = 0; i < restored.size(); ++i, ++of_made) {
    while (made.name(of_made) != restored.name(i)) ++of_made;
    EXPECT_EQ(restored.plan(i).workspace(), made.plan(of_made).workspace());
    EXPECT_EQ(restored.plan(i).serialised(), made.plan(of_made).serialised());
  }
}

INSTANTIATE_TEST_SUITE_P(Cudnn, Store, testing::Values(Pass::forward, Pass::weights),
                         [](const auto& info) { return info.param == Pass::forward ? "Precompiled" : "Compiled"; });

TEST(Store, PlansOfAnotherGraphAreOthersWhateverItsName) {
  EXPECT_EQ(key_of(operation("D b32.conv0", Pass::data, "one"), "a GPU"),
            key_of(operation("D b32.conv0", Pass::data, "one"), "a GPU"));
  EXPECT_NE(key_of(operation("D b32.conv0", Pass::data, "one"), "a GPU"),
            key_of(operation("D b32.conv1", Pass::data, "one"), "a GPU"));
}

// What a description promises is not the last word on which proposals a GPU has: only their code is taken over.
TEST(Store, APlanAheadSavesCompilingAndNotAsking) {
  const Target target = Target::described(description());
  const Operation o = operation("D b32.conv0", Pass::weights, "ahead");
  const std::string key = key_of(o, "a GPU");
  Proposals ahead(o, target, key);
  const auto names = prepared(ahead);
  ahead.store(false);
  const auto plans = plan_store().find(key).plans;
  EXPECT_EQ(plans.size(), names.size());
  Proposals later(o, target, key);
  EXPECT_FALSE(later.stored());
  EXPECT_EQ(prepared(later), names);
  later.store(true);
  EXPECT_EQ(plan_store().find(key).plans, plans) << "nothing was made anew";
  EXPECT_EQ(plan_store().find(key).proposals, names);
}

TEST(Store, WhatIsNotedIsPlannedOnceForTheGpuThatIsDescribed) {
  const Operation forward = operation("D b32.conv1", Pass::forward, "noted forward");
  for (int again = 0; again < 2; ++again) {
    note(forward);
    note(operation("D b32.conv1", Pass::data, "noted data"));
    note(forward);
    int64_t told = 0;
    const kernels::PlanCount count =
        kernels::plan_noted(description(), 2, [&](const kernels::PlanCount& c) { told = c.done; });
    EXPECT_EQ(count.operations, 2);
    EXPECT_EQ(count.missing, again ? 0 : 2);
    EXPECT_EQ(count.done, count.missing);
    EXPECT_EQ(told, count.missing);
    EXPECT_EQ(count.unplanned, 0);
  }
  EXPECT_TRUE(plan_store().has_plans(
      key_of(operation("D b32.conv1", Pass::data, "noted data"), "NVIDIA H100 80GB HBM3 sm_90")));
  EXPECT_EQ(kernels::plan_noted(description(), 2).operations, 0) << "it was planned";
}

TEST(Store, ADescriptionThatIsNoneIsOneLineOfError) {
  for (const char* text :
       {"", "{}", "[1]", "{\"deviceName\": 3, \"deviceVer\": \"x\"}", "{\"deviceName\": \"a\", \"deviceVer\": 900}"})
    try {
      kernels::plan_noted(text, 1);
      FAIL() << "accepted: " << text;
    } catch (const DeviceError& e) {
      EXPECT_EQ(std::string_view(e.what()).find('\n'), std::string_view::npos) << e.what();
    }
}

}  // namespace
}  // namespace firn::plans
