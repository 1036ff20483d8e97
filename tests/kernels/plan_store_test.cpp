// Stored plans come back as they were, or not at all.
#include "kernels/choice/plan_store.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/tools/tools_support.h"

namespace firn::kernels {
namespace {

namespace fs = std::filesystem;

struct PlanStoreTest : testing::Test {
  Scratch scratch;
  PlanStore store{scratch / "plans"};
  const std::string key = "conv_forward f32 N1 | a GPU | cudnn 1", plan = std::string(300000, 'p');

  fs::path only_file() const {
    EXPECT_EQ(std::distance(fs::directory_iterator(scratch / "plans"), {}), 1);
    return fs::directory_iterator(scratch / "plans")->path();
  }
};

TEST_F(PlanStoreTest, WhatIsAddedIsFoundAndJoined) {
  EXPECT_FALSE(store.has_plans(key));
  EXPECT_TRUE(store.find(key).plans.empty());
  store.add(key, {.plans = {{"engine1", plan}}});
  EXPECT_TRUE(store.has_plans(key));
  EXPECT_FALSE(store.has_proposals(key)) << "a described GPU says nothing of the best";
  EXPECT_FALSE(store.find(key).proposals);
  store.add(key, {.plans = {{"engine2", "{\"a\": \"\\n\"}"}}, .proposals = {{"engine2", "engine1"}}});
  const StoredPlans found = PlanStore(scratch / "plans").find(key);
  EXPECT_EQ(found.plans, (std::map<std::string, std::string>{{"engine1", plan}, {"engine2", "{\"a\": \"\\n\"}"}}));
  EXPECT_EQ(found.proposals, (std::vector<std::string>{"engine2", "engine1"}));
  store.add(key, {.plans = {{"engine3", "x"}}});
  EXPECT_EQ(store.find(key).proposals, found.proposals);
  EXPECT_EQ(store.find(key).plans.size(), 3u);
  EXPECT_TRUE(store.has_proposals(key));
  for (const auto& entry : fs::directory_iterator(scratch / "plans"))
    EXPECT_LT(entry.file_size(), 10000u) << "not compressed";
}

TEST_F(PlanStoreTest, ThatThereIsNoPlanIsKnowledgeToo) {
  store.add(key, {.proposals = std::vector<std::string>{}});
  ASSERT_TRUE(store.find(key).proposals);
  EXPECT_TRUE(store.find(key).proposals->empty());
}

// A file cut off anywhere or with any bit changed is none; nothing of it reaches the library.
TEST_F(PlanStoreTest, ADamagedFileIsNone) {
  std::string mixed;
  for (int i = 0; i < 4000; ++i) mixed += char('a' + i * i % 23);
  store.add(key, {.plans = {{"engine1", mixed}}, .proposals = {{"engine1"}}});
  const fs::path file = only_file();
  std::ifstream in(file, std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(in), {}};
  const auto found_in = [&](const std::string& bytes) {
    std::ofstream(file, std::ios::binary) << bytes;
    return store.find(key);
  };
  for (size_t length = 0; length < whole.size(); length += 7)
    ASSERT_TRUE(found_in(whole.substr(0, length)).plans.empty()) << length;
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ (1 << i % 8));
    const StoredPlans found = found_in(changed);
    // What names, times and comments the file itself may hold is not part of the content.
    for (const auto& [name, text] : found.plans) ASSERT_EQ(text, mixed) << i;
  }
  EXPECT_TRUE(found_in("not compressed").plans.empty());
  EXPECT_EQ(found_in(whole).plans.at("engine1"), mixed);
  store.add(key, {.plans = {{"engine2", "x"}}});
  EXPECT_EQ(store.find(key).plans.size(), 2u);
}

TEST_F(PlanStoreTest, AForeignFileIsNone) {
  store.add("another operation", {.plans = {{"engine1", plan}}});
  const fs::path other = only_file();
  store.add(key, {.plans = {{"engine1", "mine"}}});
  for (const auto& entry : fs::directory_iterator(scratch / "plans"))
    if (entry.path() != other) fs::copy_file(other, entry.path(), fs::copy_options::overwrite_existing);
  EXPECT_TRUE(store.find(key).plans.empty()) << "the key in the file is another's";
}

TEST_F(PlanStoreTest, WhereNothingCanBeKeptNothingIs) {
  std::ofstream(scratch / "file") << "in the way";
  for (const PlanStore& none : {PlanStore(""), PlanStore(scratch / "file")}) {
    EXPECT_FALSE(none.add(key, {.plans = {{"engine1", plan}}}));
    EXPECT_FALSE(none.has_plans(key));
    EXPECT_TRUE(none.find(key).plans.empty());
  }
}

}  // namespace
}  // namespace firn::kernels
