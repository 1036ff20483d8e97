// What loses a GPU is named and left out from then on; nothing after it goes on as if nothing had happened.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "engine/ops.h"
#include "kernels/choice/provider_cuda.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/styled/own_kernels.h"
#include "tests/providers/stand_in.h"
#include "tests/ptx/runtime.h"
#include "tests/training/training_support.h"
#include "training/run/rehearsal.h"
#include "training/run/run_folder.h"

namespace firn::providers {
namespace {

Tensor filled(Shape shape, DType type, const Device& device = Device::cuda()) {
  return Tensor::full(std::move(shape), 0.5, type, device);
}

struct Faults : testing::Test {
  void SetUp() override { reset(); }
  void TearDown() override { reset(); }
  static void reset() {  // as a new process finds it
    stand_in() = {};
    ptx::events() = {};
    ptx::on_launch({});
    kernels::initial_numerics() = {};
  }
  // The GPU is lost when a kernel of this name is launched for the n-th time.
  static void lose_at(const char* kernel, int n = 1) {
    ptx::on_launch([=, count = 0](const ptx::Kernel& k) mutable {
      if (k.name.find(kernel) != k.name.npos && ++count == n) stand_in().lost = cudaErrorIllegalAddress;
    });
  }
};

// Layers of shapes that no other test has: `side` is part of what the choice is remembered by.
Tensor convolved(int64_t side, const Device& device = Device::cuda()) {
  return conv2d(filled({1, 2, side, 8}, DType::bf16, device), filled({8, 3, 3, 8}, DType::f32, device), {.pad = 1});
}
Tensor styled(int64_t side) {
  return styled_conv2d(filled({1, 2, side, 64}, DType::bf16), filled({1, 64}, DType::f32),
                       filled({8, 1, 1, 64}, DType::f32), {}, {}, linear());
}

std::string failures() {
  std::ifstream in(std::filesystem::path(std::getenv("XDG_CACHE_HOME")) / "firn" / "providers.json");
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST_F(Faults, OurKernelIsNamedRememberedAndLeftOut) {
  lose_at("ModulatedConvSm90");
  EXPECT_EQ(message_of<DeviceLost>([] { styled(13); }),
            "CUDA: an illegal memory access was encountered in \"tensor cores of sm_90a\" of styled_conv 5 N1 2x13x64 "
            "-> 8 k1 s slope 1 clamp false; it is left out from now on: start again, or use --no-own-kernels");
  EXPECT_MENTIONS(failures(),
                  fmt::format("\"tensor cores of sm_90a\": \"{}\"", kernels::driver_version(Device::cuda().stream())));
  EXPECT_THROW(convolved(13), DeviceLost) << "nothing runs any more";
  reset();
  lose_at("ModulatedConvSm90");
  EXPECT_EQ(styled(13).to_floats().at(0), 64 * 0.125f);
  EXPECT_EQ(styled(14).to_floats().at(0), 64 * 0.125f) << "of another shape";
}

TEST_F(Faults, AnEngineOfALibraryIsNamedWhetherItSaysSoOrNot) {
  for (const bool says_so : {false, true}) {
    const int64_t side = says_so ? 15 : 16;
    stand_in().faulty = tensor_cores;
    stand_in().says_so = says_so;
    const std::string said = message_of<DeviceLost>([&] { convolved(side); });
    EXPECT_MENTIONS(said, "an illegal memory access was encountered in \"");
    EXPECT_MENTIONS(said, fmt::format("of conv_forward bf16 N1 2x{}x8", side));
    EXPECT_TRUE(said.ends_with("left out from now on: start again")) << said;
    reset();
    stand_in().faulty = tensor_cores;
    convolved(side);
    EXPECT_EQ(stand_in().executed.back(), exact);
    EXPECT_EQ(stand_in().lost, cudaSuccess);
  }
}

TEST_F(Faults, APartOfOneWayIsNamedByItself) {
  kernels::initial_numerics().without = {"modulated_conv_sm90"};
  stand_in().faulty = tensor_cores;
  const std::string said = message_of<DeviceLost>([] { styled(17); });
  EXPECT_MENTIONS(said, "of conv_forward bf16 N1 2x17x64");
  EXPECT_EQ(said.find("in steps"), said.npos);
}

TEST_F(Faults, WhatCameBeforeIsBlamedOnNoCandidate) {
  const std::string before = failures();
  lose_at("RepackWeights");
  EXPECT_EQ(message_of<DeviceLost>([&] { convolved(18); }),
            "CUDA: an illegal memory access was encountered; the program has to be started again");
  EXPECT_EQ(failures(), before);
}

TEST_F(Faults, AWayThatIsAlwaysPossibleIsNamedAndStays) {
  lose_at("ScaleChannels");
  EXPECT_MENTIONS(message_of<DeviceLost>([] { styled(19); }),
                  "in \"in steps\" of styled_conv 5 N1 2x19x64 -> 8 k1 s slope 1 clamp false; the program has to be");
  reset();
  EXPECT_EQ(styled(19).to_floats().at(0), 64 * 0.125f);
}

TEST_F(Faults, WithoutOurKernelsLibrariesRun) {
  const auto launches = [](int64_t side) {
    const LaunchCounter counter;
    ptx::on_launch([](const ptx::Kernel& k) { EXPECT_EQ(k.name.find("ModulatedConvSm90"), k.name.npos); });
    styled(side);
    return counter["modulated_conv"];
  };
  kernels::initial_numerics().without = kernels::own_kernels("all");
  EXPECT_EQ(launches(20), 0);
  EXPECT_FALSE(stand_in().executed.empty());
  kernels::initial_numerics().without = kernels::own_kernels("modulated_conv_sm90");
  launches(21);
  kernels::initial_numerics().libraries = false;
  kernels::initial_numerics().without = kernels::own_kernels("all");
  EXPECT_EQ(launches(22), 1) << "where no library can, ours does";
}

TEST_F(Faults, WhatKeepsAGpuBusyLiesOnThatGpu) {
  const auto large = [] { return std::ranges::count(stand_in().allocated, size_t{32} << 20); };
  convolved(23);
  stand_in().allocated.clear();
  stand_in().gpus = 2;
  convolved(24, Device::cuda(1));
  EXPECT_EQ(large(), 1);
  convolved(25, Device::cuda(1));
  convolved(26);
  EXPECT_EQ(large(), 1);
}

// A run on a GPU small enough for the interpreter.
TrainOptions small_options(const std::filesystem::path& data) {
  TrainOptions o = tiny_options(data);
  o.batch = o.batch_gpu = 2;
  model_of(o).channel_max = 4;
  o.grid_columns = o.grid_rows = 1;
  return o;
}

TEST_F(Faults, ARunThatLosesTheGpuEndsWithOneErrorAndGoesOnFromItsSnapshot) {
  const firn::Scratch scratch;
  const TrainOptions o = small_options(write_images(scratch / "data", 4));
  {
    TinyRun run(o, scratch / "run", {}, Device::cuda());
    lose_at("kernels::Adam", 6);  // after the first iteration, which has four steps
    const std::string said = message_of<DeviceLost>([&] { run.run(); });
    EXPECT_EQ(said, "CUDA: an illegal memory access was encountered; the program has to be started again");
    EXPECT_MENTIONS(read_text(scratch / "run" / "log.txt"), "error: " + said);
    EXPECT_THROW(run.save("later.safetensors"), DeviceLost);
  }
  EXPECT_FALSE(std::filesystem::exists(scratch / "run" / "later.safetensors"));
  reset();
  TinyRun again(o, scratch / "again", snapshot_file(scratch / "run"), Device::cuda());
  EXPECT_EQ(again.state.counters.iteration, 1);
  again.iterate(1);
}

TEST_F(Faults, RehearsalPlansAllThatTrainingRuns) {
  const firn::Scratch scratch;
  TrainOptions o = small_options(write_images(scratch / "data", 4));
  model_of(o).channel_max = 2;  // shapes that no other test has
  const Dataset data(o.data);
  TinyRun run(o, scratch / "run", {}, Device::cuda());
  int64_t told = 0;
  const Rehearsal done = rehearse(o, Device::cuda(), data, [&](const Rehearsal& r) { told = r.operations; });
  EXPECT_EQ(done.warning, "");
  EXPECT_GT(done.to_plan, 5);
  EXPECT_EQ(done.planned, done.to_plan);
  EXPECT_GT(done.operations, 10);
  EXPECT_EQ(told, done.operations);
  const kernels::ChoiceWatch watch;
  run.iterate(1);
  fakes_sheet(run.state.sampled(), o, sheet_layout(o, Device::cuda()));
  EXPECT_EQ(watch.operations(), 0);
}

}  // namespace
}  // namespace firn::providers
