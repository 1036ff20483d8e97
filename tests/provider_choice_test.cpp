// Which way of running an operation is chosen, with a stopwatch that the tests set.
#include "kernels/provider_choice.h"

#include <gtest/gtest.h>

#include <fstream>

#include "kernels/error.h"
#include "kernels/provider_numerics.h"
#include "tests/io_support.h"

namespace firn::kernels {
namespace {

// Ways named a, b, c... that note what is asked of them.
struct Ways {
  std::vector<double> microseconds;  // of each
  std::vector<bool> can_run = {};    // all, if empty
  std::vector<int> prepared = std::vector<int>(microseconds.size(), 0);
  int timed = 0, last_run = -1;

  std::vector<Candidate> candidates() {
    std::vector<Candidate> all;
    for (size_t i = 0; i < microseconds.size(); ++i)
      all.push_back({std::string(1, static_cast<char>('a' + i)),
                     [this, i] {
                       ++prepared[i];
                       return can_run.empty() || can_run[i];
                     },
                     [this, i] { last_run = static_cast<int>(i); }});
    return all;
  }
  Timer timer() {
    return [this](const std::function<void()>& run) {
      ++timed;
      run();
      const double us = microseconds[static_cast<size_t>(last_run)];
      if (us < 0) throw DeviceError("it fails when it runs");
      return us;
    };
  }
  // The name of the choice, or "none".
  std::string choose_in(ChoiceCache& cache, bool may_measure = true) {
    const auto all = candidates();
    const auto chosen = choose(cache, "conv", all, may_measure ? timer() : Timer());
    return chosen ? all[chosen->index].name : "none";
  }
};

std::string content(const std::filesystem::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(ProviderChoice, TheFastestIsTakenAndMeasuredOnce) {
  ChoiceCache cache({});
  Ways ways{{30, 10, 20}};
  EXPECT_EQ(ways.choose_in(cache), "b");
  EXPECT_EQ(ways.timed, 3);
  EXPECT_EQ(ways.choose_in(cache), "b");
  EXPECT_EQ(ways.timed, 3);
  EXPECT_EQ(cache.find("conv")->microseconds, 10);
}

TEST(ProviderChoice, WhatCannotRunIsPassedOver) {
  ChoiceCache cache({});
  Ways unprepared{{10, 20}, {false, true}}, failing{{-1, 20, 30}}, hopeless{{-1, 5}, {true, false}};
  EXPECT_EQ(unprepared.choose_in(cache), "b");
  ChoiceCache second({}), third({});
  EXPECT_EQ(failing.choose_in(second), "b");
  EXPECT_THROW(hopeless.choose_in(third), DeviceError) << "out of memory must not pass for slow";
  EXPECT_FALSE(third.find("conv"));
}

TEST(ProviderChoice, WithoutAStopwatchTheFirstIsTakenForNow) {
  ChoiceCache cache({});
  Ways ways{{30, 20, 10}, {false, true, true}};
  const auto all = ways.candidates();
  const auto chosen = choose(cache, "conv", all, {});
  ASSERT_TRUE(chosen);
  EXPECT_EQ(chosen->index, 1u);
  EXPECT_FALSE(chosen->settled);
  EXPECT_EQ(ways.prepared[2], 0);
  EXPECT_EQ(ways.choose_in(cache), "c");
  EXPECT_EQ(ways.choose_in(cache, false), "c") << "what was measured holds without a stopwatch too";
}

TEST(ProviderChoice, OneWayAloneIsNotMeasured) {
  ChoiceCache cache({});
  Ways ways{{30}};
  EXPECT_EQ(ways.choose_in(cache), "a");
  EXPECT_EQ(ways.timed, 0);
}

TEST(ProviderChoice, DeterministicTakesTheFirstAndReadsNoFile) {
  ChoiceCache cache({});
  cache.remember("conv", {"c", 1});
  Ways ways{{30, 20, 10}};
  numerics().deterministic = true;
  const std::string name = ways.choose_in(cache);
  numerics().deterministic = false;
  EXPECT_EQ(name, "a");
  EXPECT_EQ(ways.timed, 0);
}

TEST(ProviderChoice, AnotherProcessFindsWhatThisOneMeasured) {
  const Scratch folder;
  const auto file = folder.path() / "new" / "providers.json";
  ChoiceCache here(file), other(file);
  Ways ways{{30, 10}}, again{{30, 10}};
  EXPECT_EQ(ways.choose_in(here), "b");
  other.remember("gemm", {"x", 2});
  ChoiceCache later(file);
  EXPECT_EQ(again.choose_in(later), "b");
  EXPECT_EQ(again.timed, 0);
  EXPECT_EQ(later.find("gemm")->name, "x") << "one process does not undo what another wrote";
  EXPECT_EQ(later.find("conv")->measured, (std::map<std::string, double>{{"a", 30}, {"b", 10}}));
  for (const auto& entry : std::filesystem::directory_iterator(file.parent_path()))
    EXPECT_EQ(entry.path(), file) << "a temporary file is left";
}

TEST(ProviderChoice, ARememberedWayThatIsGoneIsMeasuredAnew) {
  ChoiceCache cache({});
  cache.remember("conv", {"of an older library", 1});
  Ways ways{{30, 10}};
  EXPECT_EQ(ways.choose_in(cache), "b");
  EXPECT_EQ(cache.find("conv")->name, "b");
}

TEST(ProviderChoice, ABrokenOrForeignFileIsIgnoredAndRewritten) {
  const Scratch folder;
  const auto file = folder.path() / "providers.json";
  for (const std::string text :
       {"", "{", "[1,2]", "null", R"({"format":"another","choices":{"conv":{"name":"a","microseconds":1}}})",
        R"({"format":"firn provider choices 1"})", R"({"format":"firn provider choices 1","choices":3})",
        R"({"format":"firn provider choices 1","choices":{"conv":["a"],"b":{"name":3,"microseconds":1}}})",
        R"({"format":"firn provider choices 1","choices":{"b":{"name":"a","microseconds":1,"measured":[1,"x"]}}})",
        R"({"format":"firn provider choices 1","choices":{"b":{"name":"a","microseconds":1,"measured":null}}})"}) {
    std::ofstream(file) << text;
    ChoiceCache cache(file);
    Ways ways{{30, 10}};
    EXPECT_EQ(ways.choose_in(cache), "b") << text;
    EXPECT_EQ(ways.timed, 2) << text;
    ChoiceCache after(file);
    EXPECT_TRUE(after.find("conv")) << text << " became " << content(file);
  }
}

TEST(ProviderChoice, AnUnwritableFolderCostsOnlyTheFile) {
  const Scratch folder;
  std::ofstream(folder.path() / "file") << "no folder";
  ChoiceCache cache(folder.path() / "file" / "firn" / "providers.json");
  Ways ways{{30, 10}};
  EXPECT_EQ(ways.choose_in(cache), "b");
  EXPECT_EQ(ways.choose_in(cache), "b");
  EXPECT_EQ(ways.timed, 2);
}

}  // namespace
}  // namespace firn::kernels
