// Training that was rehearsed is the training that was not.
#include "training/run/rehearsal.h"

#include <gtest/gtest.h>

#include "kernels/choice/provider_choice.h"
#include "kernels/device/memory.h"
#include "tests/training/training_support.h"

namespace firn {
namespace {

std::vector<std::vector<float>> weights(const TrainState& state) {
  std::vector<std::vector<float>> all;
  for (const Parameters* network :
       {&state.generator().parameters(), &state.discriminator().parameters(), &state.sampled().parameters()})
    for (const Parameter& p : *network) all.push_back(p.value().to_floats());
  return all;
}

void expect_unchanged(TrainOptions o) {
  const Scratch scratch;
  o.data.path = write_images(scratch / "data", 8, 8, 3, 2);
  TinyRun plain(o, scratch / "plain"), rehearsed(o, scratch / "rehearsed");
  plain.iterate(4);
  const size_t live = kernels::memory_use().live;
  int64_t told = 0;
  const Rehearsal done = rehearse(o, Device::cpu(), *rehearsed.data, [&](const Rehearsal& r) { told = r.operations; });
  EXPECT_TRUE(done.complete);
  EXPECT_EQ(done.operations, told);
  EXPECT_EQ(kernels::memory_use().live, live);
  rehearsed.iterate(4);
  EXPECT_EQ(weights(rehearsed.state), weights(plain.state));
  EXPECT_EQ(rehearsed.state.stats.read(), plain.state.stats.read());
  EXPECT_EQ(rehearsed.state.rng.offset, plain.state.rng.offset);
  EXPECT_EQ(rehearsed.state.data, plain.state.data);
  EXPECT_EQ(rehearsed.state.counters, plain.state.counters);
}

TEST(Rehearsal, ChangesNoBitOfTraining) { expect_unchanged(tiny_options({})); }

TEST(Rehearsal, ChangesNoBitOfConditionalTrainingOnFeaturesInParts) {
  TrainOptions o = tiny_options({});
  o.cond = o.data.use_labels = o.data.mirror = true;
  model_of(o).c_dim = 2;
  o.cache_features = true;
  o.freeze.blocks = 1;
  o.batch_gpu = 2;
  expect_unchanged(o);
}

TEST(Rehearsal, RunsEveryPhaseThatTrainingRuns) {
  const Scratch scratch;
  TrainOptions o = tiny_options(write_images(scratch / "data", 4));
  const auto launches = [&](const char* name) {
    const LaunchCounter counter;
    rehearse(o, Device::cpu(), Dataset(o.data));
    return counter[name];
  };
  const int64_t all = launches("adam");
  EXPECT_EQ(all, 3 * 4);
  loss_of(o).pl_weight = 0;
  EXPECT_EQ(launches("adam"), 3 * 3);
  loss_of(o).d_reg_interval = 0;
  EXPECT_EQ(launches("adam"), 3 * 2);
}

TEST(Rehearsal, HearsOfEachOperationThatIsPlanned) {
  kernels::ChoiceCache cache({});
  const std::array all{kernels::Candidate{"a", [] { return true; }, [] {}}};
  std::vector<int> told;
  const kernels::ChoiceWatch watch([&](int operations) { told.push_back(operations); });
  {
    const kernels::ChoiceWatch inner;
    choose(cache, "conv", all, {});
    EXPECT_EQ(inner.operations(), 1);
  }
  choose(cache, "conv", all, {});
  choose(cache, "gemm", all, {});
  EXPECT_EQ(told, (std::vector{1, 2}));
}

}  // namespace
}  // namespace firn
