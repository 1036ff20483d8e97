// Which way of running an operation is chosen, with a stopwatch that the tests set.
#include "kernels/choice/provider_choice.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.h"
#include "kernels/choice/provider_numerics.h"
#include "tests/io/io_support.h"

namespace firn::kernels {
namespace {

constexpr double kFails = -1, kNoMemory = -2, kLosesTheGpu = -3;

// Ways named a, b, c... that note what is asked of them.
struct Ways {
  std::vector<double> microseconds;  // of each
  std::vector<bool> can_run = {};    // all, if empty
  std::vector<int> prepared = std::vector<int>(microseconds.size(), 0);
  int tried = 0, timed = 0, last_run = -1;
  std::string driver = "1";
  bool deterministic = false;

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
  // What fails as it runs, with less than no time: kFails, kNoMemory or kLosesTheGpu.
  Timer timer() {
    const auto run_it = [this](const std::function<void()>& run) {
      run();
      const double us = microseconds[static_cast<size_t>(last_run)];
      if (us == kFails) throw DeviceError("it fails when it runs");
      if (us == kNoMemory) throw OutOfMemory("out of memory");
      if (us == kLosesTheGpu) throw DeviceLost("CUDA: a fault", "start again");
      return us;
    };
    return {.once = [=, this](const std::function<void()>& run) { ++tried, run_it(run); },
            .microseconds = [=, this](const std::function<void()>& run) { return ++timed, run_it(run); },
            .driver = driver,
            .deterministic = deterministic};
  }
  // The name of the choice, or "none".
  std::string choose_in(ChoiceCache& cache, bool may_measure = true) {
    const auto all = candidates();
    const auto chosen = choose(cache, "conv | a GPU", all, may_measure ? timer() : Timer());
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
  EXPECT_EQ(cache.find("conv | a GPU")->microseconds, 10);
}

TEST(ProviderChoice, WhatCannotRunIsPassedOver) {
  ChoiceCache cache({});
  Ways unprepared{{10, 20}, {false, true}}, failing{{kFails, 20, 30}}, hopeless{{kFails, 5}, {true, false}};
  EXPECT_EQ(unprepared.choose_in(cache), "b");
  ChoiceCache second({}), third({});
  EXPECT_EQ(failing.choose_in(second), "b");
  EXPECT_THROW(hopeless.choose_in(third), DeviceError) << "out of memory must not pass for slow";
  EXPECT_FALSE(third.find("conv | a GPU"));
}

TEST(ProviderChoice, WithoutAStopwatchTheFirstIsTakenForNow) {
  ChoiceCache cache({});
  Ways ways{{30, 20, 10}, {false, true, true}};
  const auto all = ways.candidates();
  const auto chosen = choose(cache, "conv | a GPU", all, {});
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
  EXPECT_EQ(ways.tried, 1);
}

TEST(ProviderChoice, DeterministicTakesTheFirstAndReadsNoFile) {
  ChoiceCache cache({});
  cache.remember("conv | a GPU", {"c", 1});
  Ways ways{{30, 20, 10}};
  ways.deterministic = true;
  const std::string name = ways.choose_in(cache);
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
  EXPECT_EQ(later.find("conv | a GPU")->measured, (std::map<std::string, double>{{"a", 30}, {"b", 10}}));
  for (const auto& entry : std::filesystem::directory_iterator(file.parent_path()))
    EXPECT_EQ(entry.path(), file) << "a temporary file is left";
}

TEST(ProviderChoice, ARememberedWayThatIsGoneIsMeasuredAnew) {
  ChoiceCache cache({});
  cache.remember("conv | a GPU", {"of an older library", 1});
  Ways ways{{30, 10}};
  EXPECT_EQ(ways.choose_in(cache), "b");
  EXPECT_EQ(cache.find("conv | a GPU")->name, "b");
}

TEST(ProviderChoice, WhatLosesTheGpuIsNamedAndLeftOutByAllProcesses) {
  const Scratch folder;
  const auto file = folder.path() / "providers.json";
  ChoiceCache here(file), other(file);
  EXPECT_FALSE(other.find("conv | a GPU"));
  Ways ways{{30, kLosesTheGpu, 20}};
  EXPECT_EQ(message_of<DeviceLost>([&] { ways.choose_in(here); }),
            "CUDA: a fault in \"b\" of conv; it is left out from now on: start again");
  other.remember("conv | a GPU", {"b", 1});  // what another process writes does not undo it
  ChoiceCache next(file), again(file), deterministic({});
  Ways later{{30, kLosesTheGpu, 20}}, first{{kLosesTheGpu, 30}};
  EXPECT_EQ(later.choose_in(next), "c");
  EXPECT_EQ(later.prepared[1], 0);
  EXPECT_EQ(next.find("conv | a GPU")->failed, (std::map<std::string, std::string>{{"b", "1"}}));
  Ways newer{{30, 10, 20}};
  newer.driver = "2";
  EXPECT_EQ(newer.choose_in(again), "c") << "what was chosen holds";
  again.remember("conv | a GPU", {"", 0, {}, {{"b", "1"}}});
  EXPECT_EQ(newer.choose_in(again), "b") << "a new driver has another chance";
  first.deterministic = true;
  EXPECT_THROW(first.choose_in(deterministic), DeviceLost);
  const std::string name = first.choose_in(deterministic);
  EXPECT_EQ(name, "b") << "even where no other choice is remembered";
}

TEST(ProviderChoice, OurKernelThatLosesTheGpuIsLeftOutEverywhereOnThisDevice) {
  ChoiceCache cache({});
  Ways ways{{kLosesTheGpu, 2}};
  auto all = ways.candidates();
  all[0].ours = "modulated_conv 4";
  const auto chosen = [&](const char* key) { return choose(cache, key, all, ways.timer())->index; };
  EXPECT_MENTIONS(message_of<DeviceLost>([&] { chosen("layer | a GPU"); }), "start again, or use --no-own-kernels");
  EXPECT_EQ(chosen("layer | a GPU"), 1u);
  EXPECT_EQ(chosen("larger layer | a GPU"), 1u);
  EXPECT_THROW(chosen("layer | another GPU"), DeviceLost);
  all[0].ours = "modulated_conv 5";
  EXPECT_THROW(chosen("largest layer | a GPU"), DeviceLost);
}

TEST(ProviderChoice, ARememberedWayThatLosesTheGpuIsNamedToo) {
  ChoiceCache cache({});
  cache.remember("conv | a GPU", {"b", 1});
  Ways ways{{30, kLosesTheGpu, 20}};
  EXPECT_MENTIONS(message_of<DeviceLost>([&] { ways.choose_in(cache); }), "in \"b\" of conv");
  EXPECT_EQ(ways.timed, 0);
  EXPECT_EQ(ways.choose_in(cache), "c");
}

TEST(ProviderChoice, APartOfAWayIsNamedByItself) {
  ChoiceCache cache({});
  Ways part{{kLosesTheGpu, 2}};
  const std::array whole{Candidate{"in steps", [] { return true; }, [&] { part.choose_in(cache); }}};
  const auto run = [](const std::function<void()>& run) { run(); };
  EXPECT_MENTIONS(message_of<DeviceLost>([&] { choose(cache, "layer | a GPU", whole, {.once = run}); }),
                  "\"a\" of conv;");
  EXPECT_FALSE(cache.find("layer | a GPU"));
}

TEST(ProviderChoice, WhatIsChosenWhileMemoryIsShortIsNotRemembered) {
  ChoiceCache cache({});
  Ways ways{{30, kNoMemory, 20}};
  EXPECT_EQ(ways.choose_in(cache), "c");
  EXPECT_FALSE(cache.find("conv | a GPU"));
  ways.microseconds[1] = 10;
  EXPECT_EQ(ways.choose_in(cache), "b");
}

TEST(ProviderChoice, ABrokenOrForeignFileIsIgnoredAndRewritten) {
  const Scratch folder;
  const auto file = folder.path() / "providers.json";
  for (const std::string text :
       {"", "{", "[1,2]", "null", R"({"format":"another","choices":{"conv":{"name":"a","microseconds":1}}})",
        R"({"format":"firn provider choices 2"})", R"({"format":"firn provider choices 2","choices":3})",
        R"({"format":"firn provider choices 2","choices":{"conv | a GPU":["a"],"b":{"name":3,"microseconds":1}}})",
        R"({"format":"firn provider choices 2","choices":{"b":{"name":"a","microseconds":1,"measured":[1,"x"]}}})",
        R"({"format":"firn provider choices 2","choices":{"b":{"name":"a","microseconds":1,"failed":["a",{}]}}})",
        R"({"format":"firn provider choices 2","choices":{"b":{"name":"a","microseconds":1,"measured":null}}})"}) {
    std::ofstream(file) << text;
    ChoiceCache cache(file);
    Ways ways{{30, 10}};
    EXPECT_EQ(ways.choose_in(cache), "b") << text;
    EXPECT_EQ(ways.timed, 2) << text;
    ChoiceCache after(file);
    EXPECT_TRUE(after.find("conv | a GPU")) << text << " became " << content(file);
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
