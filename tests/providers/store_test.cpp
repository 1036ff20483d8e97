// What later processes find: plans and choices that earlier ones stored.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "engine/ops.h"
#include "kernels/choice/plan_store.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/conv/conv_cudnn.h"
#include "kernels/conv/planning.h"
#include "tests/providers/stand_in.h"

namespace firn::providers {
namespace {

namespace fs = std::filesystem;

// In a process of its own, whose result is that of `check`.
bool in_a_process(const std::function<bool()>& check) {
  const pid_t child = ::fork();
  if (child == 0) {
    stand_in() = {};
    bool right = false;
    try {
      right = check();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "%s\n", e.what());
    }
    ::_exit(right ? 0 : 1);
  }
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// The three convolutions at a side that no other test has.
void convolutions(int64_t side, const Device& device = Device::cuda()) {
  const auto filled = [&](Shape shape, DType type) { return Tensor::full(std::move(shape), 0.5, type, device); };
  const Tensor x = filled({1, side, side, 8}, DType::bf16), gy = filled({1, side, side, 8}, DType::bf16);
  const Tensor w = filled({8, 3, 3, 8}, DType::f32);
  const Tensor y = conv2d(x, w, {.pad = 1}), gx = conv2d_input_grad(gy, w, x.shape(), {.pad = 1});
  const Tensor gw = conv2d_weight_grad(x, gy, w.shape(), {.pad = 1});
  if (device.stream().dry) return;
  EXPECT_EQ(y.to_floats().at(0), 4 * 8 * 0.25f);
  EXPECT_EQ(gx.to_floats().at(0), 4 * 8 * 0.25f);
  EXPECT_GT(gw.to_floats().at(0), 0);
}

struct Stored : testing::Test {
  // Each test's kernels are planned, measured and stored by a first process.
  static bool first(int64_t side) {
    return in_a_process([&] {
      convolutions(side);
      return stand_in().asked > 0 && !stand_in().planned.empty() && !HasFailure();
    });
  }
};

TEST_F(Stored, ASecondProcessAsksForNothingAndPlansNothing) {
  ASSERT_TRUE(first(21));
  EXPECT_TRUE(in_a_process([] {
    convolutions(21);
    return stand_in().asked == 0 && stand_in().planned.empty() && stand_in().restored >= 3 && !HasFailure();
  }));
}

TEST_F(Stored, DamagedFilesAreMadeAnew) {
  ASSERT_TRUE(first(22));
  for (const auto& file : fs::directory_iterator(kernels::cache_folder() / "plans")) {
    std::error_code failed;
    fs::resize_file(file.path(), fs::file_size(file.path()) / 2, failed);
  }
  EXPECT_TRUE(first(22));
  EXPECT_TRUE(in_a_process([] {
    convolutions(22);
    return stand_in().asked == 0 && stand_in().planned.empty() && !HasFailure();
  }));
}

TEST_F(Stored, PlansThatTheLibraryRefusesAreMadeAnew) {
  ASSERT_TRUE(first(23));
  EXPECT_TRUE(in_a_process([] {
    stand_in().restores = false;
    convolutions(23);
    return stand_in().asked > 0 && !stand_in().planned.empty() && !HasFailure();
  }));
}

// No plan comes back, and the first proposal is made anew all the same; two passes would be another result.
TEST_F(Stored, WhatIsDeterministicDependsOnNoStore) {
  const auto engines = [](bool restores) {
    return in_a_process([=] {
      kernels::initial_numerics().deterministic = true;
      stand_in().restores = restores;
      const kernels::ConvProblem p{.N = 1,
                                   .H = 25,
                                   .W = 25,
                                   .I = 8,
                                   .OH = 25,
                                   .OW = 25,
                                   .O = 8,
                                   .KH = 1,
                                   .KW = 1,
                                   .stride = 1,
                                   .type = DType::bf16};
      const Tensor x = Tensor::full({1, 25, 25, 8}, 0.5, DType::bf16, Device::cuda());
      const Tensor w = Tensor::full({8, 1, 1, 8}, 0.5, DType::f32, Device::cuda());
      Tensor y = x.like();
      kernels::conv_bias_act(x.stream(), p, {.slope = 0.5}, y.mutable_data(), x.data(), w.data(), w.weight_cache());
      // A plain convolution is tried and run; the fused one is held against it, tried, and run.
      return stand_in().executed == std::vector<int64_t>(5, tensor_cores);
    });
  };
  EXPECT_TRUE(engines(true));
  EXPECT_TRUE(engines(false));
  EXPECT_TRUE(engines(true));
}

// One thread: the stand-in is not made for more.
TEST_F(Stored, WhatADryRunNotesIsPlannedAndRestoredBeforeItIsAskedFor) {
  const auto plan = [] {
    convolutions(24, Device::dry());
    return kernels::plan_noted(Device::cuda().stream(), 1);
  };
  EXPECT_TRUE(in_a_process([&] {
    const kernels::PlanCount count = plan();
    EXPECT_EQ(count.operations, 3);
    EXPECT_EQ(count.missing, 3);
    EXPECT_EQ(count.done, 3);
    EXPECT_TRUE(stand_in().executed.empty()) << "nothing runs on a dry stream";
    const int asked = stand_in().asked;
    const size_t planned = stand_in().planned.size();
    convolutions(24);
    return stand_in().asked == asked && stand_in().planned.size() == planned && !HasFailure();
  }));
  EXPECT_TRUE(in_a_process([&] {
    EXPECT_EQ(plan().missing, 0);
    EXPECT_EQ(stand_in().restored, 3);
    convolutions(24);
    return stand_in().restored == 3 && stand_in().asked == 0 && stand_in().planned.empty() && !HasFailure();
  }));
}

}  // namespace
}  // namespace firn::providers
