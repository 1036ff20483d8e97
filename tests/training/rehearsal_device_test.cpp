// Training on a GPU after a rehearsal. tests/ptx runs the same on its interpreter.
#ifdef FIRN_CUDA
#include <gtest/gtest.h>

#include "kernels/choice/provider_numerics.h"
#include "kernels/device/memory.h"
#include "tests/training/training_support.h"
#include "training/run/rehearsal.h"

namespace firn {
namespace {

TEST(RehearsalOnAGpu, ChangesNoBitOfTrainingAndGivesItsMemoryBack) {
  if (kernels::cuda_device_count() == 0) GTEST_SKIP() << "this machine has no GPU";
  const Scratch scratch;
  TrainOptions o = tiny_options(write_images(scratch / "data", 4));
  o.batch = o.batch_gpu = 2;
  model_of(o).channel_max = 4;
  o.grid_columns = o.grid_rows = 1;
  o.deterministic = true;
  const kernels::Numerics before = kernels::initial_numerics();  // without libraries on the interpreter
  kernels::initial_numerics().deterministic = true;
  TinyRun plain(o, scratch / "plain", {}, Device::cuda()), rehearsed(o, scratch / "rehearsed", {}, Device::cuda());
  plain.iterate(1);
  const size_t live = kernels::memory_use().live;
  EXPECT_TRUE(rehearse(o, Device::cuda(), *rehearsed.data).complete);
  EXPECT_EQ(kernels::memory_use().live, live);
  rehearsed.iterate(1);
  kernels::initial_numerics() = before;
  for (const auto& [a, b] :
       {std::pair{&plain.state.sampled().parameters(), &rehearsed.state.sampled().parameters()},
        {&plain.state.discriminator().parameters(), &rehearsed.state.discriminator().parameters()}})
    for (size_t i = 0; i < a->size(); ++i)
      EXPECT_EQ((*a)[i].value().to_floats(), (*b)[i].value().to_floats()) << (*a)[i].name();
  EXPECT_EQ(rehearsed.state.rng.offset, plain.state.rng.offset);
}

}  // namespace
}  // namespace firn
#endif
