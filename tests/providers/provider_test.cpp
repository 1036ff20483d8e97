// The CUDA providers from end to end without a GPU: our kernels run on the PTX interpreter, libraries are stood in for.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "engine/ops.h"
#include "kernels/choice/provider_cuda.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/conv/conv_cudnn.h"
#include "kernels/device/memory.h"
#include "kernels/device/timer.h"
#include "kernels/ops/elementwise.h"
#include "tests/engine/op_check.h"
#include "tests/io/io_support.h"
#include "tests/providers/stand_in.h"
#include "tests/ptx/runtime.h"
#include "training/step/feed.h"

namespace firn::providers {
namespace {

using tests::OpCase;

// A cache of this process's own.
class OwnCache : public testing::Environment {
  std::filesystem::path folder_ = std::filesystem::temp_directory_path() / fmt::format("firn-providers-{}", ::getpid());
  void SetUp() override { ::setenv("XDG_CACHE_HOME", folder_.c_str(), 1); }
  void TearDown() override {
    EXPECT_TRUE(std::filesystem::exists(folder_ / "firn" / "providers.json")) << "nothing that was measured is kept";
    std::filesystem::remove_all(folder_);
  }
};
const auto* const own_cache = testing::AddGlobalTestEnvironment(new OwnCache);

struct Providers : testing::Test {
  void SetUp() override { reset(); }
  void TearDown() override { reset(); }
  static void reset() {
    stand_in() = {};
    ptx::events() = {};
    kernels::initial_numerics() = {};
  }
  static bool only_used(const std::vector<int64_t>& used, int64_t engine) {
    return !used.empty() && std::ranges::all_of(used, [&](int64_t e) { return e == engine; });
  }
};

Tensor filled(Shape shape, DType type, double value = 0.5) {
  return Tensor::full(std::move(shape), value, type, Device::cuda());
}

// A convolution of a shape that no other test has: `side` is part of what the choice is remembered by.
Tensor convolved(int64_t side, const Tensor& w, DType type) {
  return conv2d(filled({1, side, side, w.dim(3)}, type), w, {.pad = 1});
}

TEST_F(Providers, EveryOpThatUsesThemMatchesTheCpu) {
  int compared = 0;
  for (const OpCase& c : tests::small_op_cases()) {
    const auto has = [&](const char* part) { return c.name.find(part) != c.name.npos; };
    if (!has("conv") && !has("matmul") && !has("fully_connected")) continue;
    for (const DType t : {DType::f32, DType::bf16}) {
      if (t == DType::bf16 && c.activations.empty()) continue;
      const size_t before = stand_in().executed.size() + stand_in().products.size();
      const double tolerance = std::max(t == DType::f32 ? 1e-5 : 3e-2, 4 * precision_error(c, t, Device::cpu(), true));
      EXPECT_LT(precision_error(c, t, Device::cuda(), true), tolerance) << c.name << ' ' << name_of(t);
      compared += stand_in().executed.size() + stand_in().products.size() > before;
    }
  }
  EXPECT_GT(compared, 20);
  EXPECT_FALSE(stand_in().executed.empty());
  EXPECT_FALSE(stand_in().products.empty());
}

// With half and three quarters of the filters frozen, the product has so many output channels.
TEST_F(Providers, FrozenFiltersAreLeftOutOfTheWeightGradient) {
  kernels::initial_numerics().deterministic = true;
  for (const DType type : {DType::f32, DType::bf16})
    for (const int64_t trained : {64, 32, 16}) {
      std::vector<int32_t> numbers;
      for (int64_t i = 64 / trained - 1; i < 64; i += 64 / trained) numbers.push_back(static_cast<int32_t>(i));
      const auto rows = trained == 64 ? nullptr : std::make_shared<const TrainedRows>(numbers, 64, Device::cuda());
      const Tensor w = require_grad(filled({64, 3, 3, 16}, DType::f32), rows);
      const Tensor y = conv2d(filled({1, 4, 4, 16}, type), w, {.pad = 1});
      stand_in() = {};
      const LaunchCounter launches;
      EXPECT_EQ(grad(sum(y), {w})[0].shape(), (Shape{trained, 3, 3, 16}));
      EXPECT_EQ(launches["conv_backward_weights"], 1);
      EXPECT_EQ(launches["pick_channels"], trained < 64);
      EXPECT_EQ(launches["gather"] + launches["slice"], 0);
      EXPECT_FALSE(stand_in().weight_gradients.empty());
      for (const auto& dimensions : stand_in().weight_gradients)
        EXPECT_EQ(dimensions, (std::vector<int64_t>{trained, 16, 3, 3}));
    }
}

TEST_F(Providers, OnlyAcceptableEnginesRun) {
  const Tensor w = filled({8, 3, 3, 8}, DType::f32);
  convolved(5, w, DType::bf16);
  EXPECT_TRUE(std::ranges::find(stand_in().planned, changes_results) == stand_in().planned.end());
  for (const int64_t e : stand_in().executed) EXPECT_TRUE(e == tensor_cores || e == exact) << e;
}

TEST_F(Providers, F32KeepsOffTensorCoresUnlessAllowed) {
  const Tensor w = filled({8, 3, 3, 8}, DType::f32);
  convolved(6, w, DType::f32);
  EXPECT_TRUE(only_used(stand_in().executed, exact));
  stand_in() = {};
  kernels::initial_numerics() = {.tf32 = true, .deterministic = true};
  convolved(6, w, DType::f32);
  EXPECT_TRUE(only_used(stand_in().executed, tensor_cores));
}

TEST_F(Providers, AShapeIsMeasuredOnce) {
  const Tensor w = filled({8, 3, 3, 8}, DType::f32);
  convolved(7, w, DType::bf16);
  const int waits = ptx::events().waits;
  const size_t planned = stand_in().planned.size(), executed = stand_in().executed.size();
  EXPECT_GT(waits, 0);
  convolved(7, w, DType::bf16);
  EXPECT_EQ(ptx::events().waits, waits);
  EXPECT_EQ(stand_in().planned.size(), planned);
  EXPECT_EQ(stand_in().executed.size(), executed + 1);
  EXPECT_EQ(stand_in().executed.back(), exact) << "the stopwatch made the last one the fastest";
}

// A view may begin anywhere; what cuDNN is told of its address must be true.
TEST_F(Providers, OperandsThatAreAlignedLessHavePlansOfTheirOwn) {
  const kernels::ConvProblem p{
      .N = 1, .H = 5, .W = 7, .I = 8, .OH = 5, .OW = 7, .O = 8, .KH = 1, .KW = 1, .stride = 1, .pad_y = 0, .pad_x = 0};
  const Tensor x = filled({5 * 7 * 8 + 1}, DType::f32), w = filled({8, 1, 1, 8}, DType::f32);
  const auto planned_at = [&](int64_t first) {
    stand_in().planned.clear();
    Tensor y = filled({1, 5, 7, 8}, DType::f32, 0);
    kernels::conv_forward(x.stream(), p, y.mutable_data(), static_cast<const float*>(x.data()) + first, w.data(),
                          w.weight_cache());
    EXPECT_EQ(y.to_floats().at(0), 8 * 0.25f);
    return stand_in().planned.size();
  };
  EXPECT_GT(planned_at(0), 0u);
  EXPECT_GT(planned_at(1), 0u);
  EXPECT_EQ(planned_at(0) + planned_at(1), 0u);
}

TEST_F(Providers, DeterministicTakesTheFirstWithoutMeasuring) {
  kernels::initial_numerics().deterministic = true;
  convolved(8, filled({8, 3, 3, 8}, DType::f32), DType::bf16);
  EXPECT_EQ(ptx::events().waits, 0);
  EXPECT_TRUE(only_used(stand_in().executed, tensor_cores));
}

TEST_F(Providers, WhileCapturingNothingWaitsAndLaterItIsMeasured) {
  const Tensor w = filled({8, 3, 3, 8}, DType::f32);
  ptx::events().capturing = true;
  convolved(9, w, DType::bf16);
  EXPECT_EQ(ptx::events().waits, 0);
  EXPECT_TRUE(only_used(stand_in().executed, tensor_cores));
  ptx::events().capturing = false;
  convolved(9, w, DType::bf16);
  EXPECT_GT(ptx::events().waits, 0);
  const int waits = ptx::events().waits;
  ptx::events().capturing = true;
  convolved(9, w, DType::bf16);
  EXPECT_EQ(ptx::events().waits, waits);
  EXPECT_EQ(stand_in().executed.back(), exact) << "what was measured holds in a capture";
}

TEST_F(Providers, WeightsArePackedOnceUntilTheyChangeOrMayHaveChanged) {
  Tensor w = filled({8, 3, 3, 8}, DType::f32);
  const auto packs = [&] {
    const LaunchCounter counter;
    const std::vector<float> y = convolved(10, w, DType::bf16).to_floats();
    EXPECT_EQ(y.at(0), 4 * 8 * 0.5f * w.to_floats().at(0));
    return counter["repack_weights"];
  };
  EXPECT_EQ(packs(), 1);
  EXPECT_EQ(packs(), 0);
  w.copy_from(filled({8, 3, 3, 8}, DType::f32, 0.25));
  EXPECT_EQ(packs(), 1);
  kernels::forget_weight_caches();
  EXPECT_EQ(packs(), 1);
}

TEST_F(Providers, RehearsalsAreNotCountedAsLaunches) {
  const LaunchCounter counter;
  convolved(11, filled({8, 3, 3, 8}, DType::f32), DType::bf16);
  EXPECT_EQ(counter["conv_forward"], 1);
}

TEST_F(Providers, OddChannelsRoundTheirWeightGradientOnce) {
  const Tensor x = filled({1, 4, 4, 9}, DType::bf16), gy = filled({1, 4, 4, 8}, DType::bf16);
  const LaunchCounter counter;
  const std::vector<float> gw = conv2d_weight_grad(x, gy, {8, 3, 3, 9}, {.pad = 1, .gain = 2}).to_floats();
  EXPECT_EQ(gw.at(0), 2 * 9 * 0.25f);
  EXPECT_EQ(gw.at(4 * 9), 2 * 16 * 0.25f);
  EXPECT_EQ(counter["repack_weights"], 1);
  EXPECT_EQ(counter["conv_backward_weights_reference"], 0);
}

TEST_F(Providers, AnEpilogueRunsFusedOrInTwoPassesByTheStopwatch) {
  const auto launches = [&](int64_t side) {
    const kernels::ConvProblem p{.N = 1,
                                 .H = side,
                                 .W = side,
                                 .I = 8,
                                 .OH = side,
                                 .OW = side,
                                 .O = 8,
                                 .KH = 1,
                                 .KW = 1,
                                 .stride = 1,
                                 .pad_y = 0,
                                 .pad_x = 0,
                                 .type = DType::bf16};
    const Tensor x = filled({1, side, side, 8}, DType::bf16), w = filled({8, 1, 1, 8}, DType::f32);
    const Tensor b = filled({8}, DType::f32, -4);
    Tensor y = x.like();
    const LaunchCounter counter;
    kernels::conv_bias_act(x.stream(), p, {.b = b.data(), .slope = 0.5, .gain = 3}, y.mutable_data(), x.data(),
                           w.data(), w.weight_cache());
    EXPECT_EQ(y.to_floats().at(5), 0.5f * 3 * (8 * 0.25f - 4));
    return counter["bias_act"];
  };
  EXPECT_EQ(launches(3), 1) << "the last candidate is the fastest, and that is two passes";
  kernels::initial_numerics().deterministic = true;
  EXPECT_EQ(launches(4), 0);
  kernels::initial_numerics().deterministic = false;
  stand_in().fused = false;
  EXPECT_EQ(launches(5), 1);
  stand_in().fused = true;
  ptx::events().capturing = true;
  EXPECT_EQ(launches(6), 1) << "nothing is compiled in a capture";
}

TEST_F(Providers, LayersThatResampleRunInOneKernelOrInStepsByTheStopwatch) {
  const Fir around_one{.pad_x0 = 1, .pad_x1 = 1, .pad_y0 = 1, .pad_y1 = 1, .gain = 4};
  const Fir around_two{.pad_x0 = 2, .pad_x1 = 2, .pad_y0 = 2, .pad_y1 = 2};
  const Tensor w = filled({8, 3, 3, 32}, DType::f32), s = filled({1, 32}, DType::f32), b = filled({8}, DType::f32, -4);
  // Launches of one kernel and of the filter, for a layer that doubles and one that halves.
  const auto expect = [&](int64_t side, int64_t one, int64_t filter) {
    const Tensor x = filled({1, side, 16, 32}, DType::bf16), twice = filled({1, 2 * side, 32, 32}, DType::bf16);
    const LaunchCounter counter;
    const Tensor up = styled_conv2d_up(x, s, w, b, {.stride = 2, .transposed = true}, around_one, lrelu(3));
    const Tensor down = conv2d_down(twice, w, b, around_two, {.stride = 2}, lrelu(3));
    // In the middle the filter's gain of 4 meets a quarter of the 9 products.
    EXPECT_EQ(up.to_floats().at(static_cast<size_t>((side * 32 + 16) * 8)), 3 * (9 * 32 * 0.125f - 4)) << side;
    EXPECT_EQ(down.to_floats().at(static_cast<size_t>((side / 2 * 16 + 8) * 8)), 3 * (9 * 32 * 0.25f - 4)) << side;
    EXPECT_EQ(counter["modulated_conv_up"], one) << side;
    EXPECT_EQ(counter["conv_down"], one) << side;
    EXPECT_EQ(counter["upfirdn2d_bias_act"], filter) << side;
    EXPECT_EQ(counter["upfirdn2d_vectors"], filter) << side;
  };
  expect(16, 0, 1);  // the last candidate is the fastest
  expect(16, 0, 1);
  expect(15, 0, 1);  // too small to be worth a try
  kernels::initial_numerics().deterministic = true;
  expect(17, 1, 0);
  kernels::initial_numerics().deterministic = false;
  ptx::events().capturing = true;
  expect(18, 1, 0);
}

// However fast it is.
TEST_F(Providers, AWayThatComputesSomethingElseIsNotUsed) {
  const int64_t count = 10000;
  Tensor y = filled({count}, DType::bf16);
  const auto fill = [&](int64_t n, float value) {
    run(y.stream(), kernels::Fill<bf16>{y.mutable_as<bf16>(), n, value});
  };
  const auto expected = [&] {
    const auto own = std::make_shared<Tensor>(filled({count}, DType::bf16, 2));
    return std::shared_ptr<const void>(own, own->data());
  };
  const auto index_with = [&](const std::function<void()>& other) {
    static int calls = 0;
    const auto always = [] { return true; };
    const std::array ways{kernels::Candidate{"trusted", always, [&] { fill(count, 2); }},
                          kernels::Candidate{"other", always, other}};
    testing::internal::CaptureStderr();
    const size_t index = kernels::fastest(y.stream(), fmt::format("a layer {}", calls++),
                                          {ways, 0, y.mutable_as<bf16>(), count, expected});
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_EQ(said.find("warning: a layer") == 0, index == 0) << said;
    return index;
  };
  EXPECT_EQ(index_with([&] { fill(count, 2); }), 1u) << "the last one is the fastest";
  EXPECT_EQ(index_with([&] { fill(count, 2.0078125f); }), 1u) << "rounded in another way";
  EXPECT_EQ(index_with([&] { fill(count, 2.125f); }), 0u);
  EXPECT_EQ(index_with([&] { fill(count - 1, 2); }), 0u) << "one number is missing";
  EXPECT_EQ(index_with([&] { fill(count, 2), fill(1, -2); }), 0u) << "one number is wrong";
  // What fails is not used, and nothing needs to be said of it; what is remembered has agreed before.
  const auto always = [] { return true; };
  const std::array failing{kernels::Candidate{"trusted", always, [&] { fill(count, 2); }},
                           kernels::Candidate{"other", always, [] { throw DeviceError("no memory"); }}};
  const kernels::Ways ways{failing, 0, y.mutable_as<bf16>(), count, expected};
  EXPECT_EQ(kernels::fastest(y.stream(), "a failing layer", ways), 0u);
  kernels::initial_numerics().deterministic = true;
  EXPECT_EQ(kernels::fastest(Device::cuda().stream(), "another failing layer", ways), 0u);
  testing::internal::CaptureStderr();
  const std::array wrong{kernels::Candidate{"other", always, [&] { fill(count, 3); }},
                         kernels::Candidate{"trusted", always, [&] { fill(count, 2); }}};
  EXPECT_EQ(
      kernels::fastest(Device::cuda().stream(), "a wrong layer", {wrong, 1, y.mutable_as<bf16>(), count, expected}),
      1u);
  EXPECT_NE(testing::internal::GetCapturedStderr(), "");
  // What a file remembers has agreed once, which a deterministic run does not rely on.
  const auto remembered = [&](const char* what) {
    const std::string key =
        fmt::format("{} | {} | cudnn {}", what, kernels::device_name(y.stream()), kernels::cudnn::version());
    kernels::choice_cache().remember(key, {"other", 1});
    testing::internal::CaptureStderr();
    const size_t index =
        kernels::fastest(Device::cuda().stream(), what, {wrong, 1, y.mutable_as<bf16>(), count, expected});
    testing::internal::GetCapturedStderr();
    return index;
  };
  EXPECT_EQ(remembered("a remembered layer"), 1u);
  kernels::initial_numerics().deterministic = false;
  EXPECT_EQ(remembered("another remembered layer"), 0u);
}

// Whichever was asked for last: what runs on a GPU makes it the current one.
TEST_F(Providers, TwoGpusWorkSideBySide) {
  stand_in().gpus = 2;
  kernels::initial_numerics().deterministic = true;
  const Device devices[] = {Device::cuda(0), Device::cuda(1)};
  std::vector<float> results[2];
  kernels::DeviceTimer timers[] = {kernels::DeviceTimer(devices[0].stream()),
                                   kernels::DeviceTimer(devices[1].stream())};
  for (const DType type : {DType::f32, DType::bf16})
    for (size_t i : {size_t{0}, size_t{1}, size_t{0}}) {
      const Device& device = devices[i];
      timers[i].start();
      Rng rng{.seed = 5};
      const Tensor x = randn({1, 6, 29, 8}, rng, type, device), w = randn({16, 3, 3, 8}, rng, DType::f32, device);
      const Tensor y = styled_conv2d(x, {}, w, randn({16}, rng, DType::f32, device), {.pad = 1}, lrelu());
      const Tensor z = matmul(reshape(y, {6 * 29, 16}), cast(reshape(w, {72, 16}), type), {.trans_b = true});
      ImageFeed feed({1, 2, 2, 3}, DType::f32, device);
      const Tensor images = feed.put(std::vector<uint8_t>(12, 255));
      EXPECT_EQ(images.to_floats(), std::vector<float>(12, 1));
      EXPECT_GE(timers[i].stop(), 0);
      kernels::trim(device.stream());
      results[i] = z.to_floats();
      Tensor there = Tensor::zeros(z.shape(), type, devices[1 - i]);
      there.copy_from(z);
      EXPECT_EQ(there.to_floats(), results[i]) << device.name();
      EXPECT_EQ(results[0].size(), 6u * 29 * 72);
      if (i == 1) {
        EXPECT_EQ(results[0], results[1]);
      }
    }
  EXPECT_MENTIONS(message_of<DeviceError>([] { Device::cuda(2); }), "there is no GPU 2: this machine has 2");
}

TEST_F(Providers, WithoutLibrariesTheReferenceKernelsRun) {
  kernels::initial_numerics().libraries = false;
  const LaunchCounter counter;
  convolved(12, filled({8, 3, 3, 8}, DType::f32), DType::bf16);
  EXPECT_EQ(counter["conv_forward_reference"], 1);
  EXPECT_TRUE(stand_in().executed.empty());
}

}  // namespace
}  // namespace firn::providers
