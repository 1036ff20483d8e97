// What the provider would run first, for every convolution on four kinds of GPU: it exists, repeats its results, uses
// tensor cores and keeps to its workspace.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "kernels/choice/cudnn_planner.h"
#include "kernels/conv/cudnn_conv_graph.h"
#include "tests/plans/shapes.h"

namespace firn::plans {
namespace {

using namespace kernels::cudnn;
using kernels::ConvProblem;
using kernels::Epilogue;

struct Found {
  std::optional<Config> config;
  size_t workspace = 0;
};

enum class Generated { are_proposed, are_compiled };

// The first acceptable way that can be planned within the workspace, as kernels/conv/conv_cudnn.cpp takes it.
Found first_plan(const Graph& graph, DType type, bool tf32, const Target& target, Generated generated) {
  for (const Config& config : configs(graph, target, generated == Generated::are_proposed ? 2 : 16)) {
    if (!acceptable(config, type, tf32)) continue;
    if (config.compiled_at_run_time && generated == Generated::are_proposed) return {config, 0};
    try {
      const Plan plan(config, target);
      if (plan.workspace() <= kWorkspaceBound) return {config, plan.workspace()};
    } catch (const DeviceError&) {
    }
  }
  return {};
}

Epilogue<> epilogue_of(const Layer& layer) {
  static const float operand = 1;
  if (layer.added) return {.addend = &operand};
  return {.b = &operand, .slope = 0.2, .gain = 1.4142, .clamp = 256};
}

class Plans : public testing::TestWithParam<const char*> {
 protected:
  const Target& target() {
    if (!target_) {
      std::ifstream in(fmt::format("{}/{}.json", FIRN_DEVICES, GetParam()));
      target_ = Target::described({std::istreambuf_iterator<char>(in), {}});
    }
    return *target_;
  }
  void expect_tensor_cores(const Found& f, const std::string& what) {
    ASSERT_TRUE(f.config) << what << " has no plan";
    EXPECT_TRUE(f.config->tensor_cores) << what << ": " << f.config->name;
    EXPECT_TRUE(f.config->deterministic) << what << ": " << f.config->name;
  }
  void compile(const Graph& graph, const std::string& what) {
    expect_tensor_cores(first_plan(graph, DType::bf16, true, target(), Generated::are_compiled), what);
  }

 private:
  std::optional<Target> target_;
};

TEST_P(Plans, EveryForwardConvolutionAndInputGradientIsPrecompiledForTensorCores) {
  for (const Layer& l : all_problems())
    for (const Pass pass : {Pass::forward, Pass::data}) {
      const Found f =
          first_plan(conv_graph(l.problem, pass, true).graph, l.problem.type, true, target(), Generated::are_compiled);
      expect_tensor_cores(f, fmt::format("{} pass {}", l.name, static_cast<int>(pass)));
      EXPECT_FALSE(f.config && f.config->compiled_at_run_time) << l.name;
    }
}

TEST_P(Plans, EveryWeightGradientHasATensorCoreKernelWithF32Output) {
  for (const Layer& l : all_problems())
    expect_tensor_cores(first_plan(conv_graph(l.problem, Pass::weights, false).graph, l.problem.type, true, target(),
                                   Generated::are_proposed),
                        l.name);
}

TEST_P(Plans, EveryEpilogueCanBeFused) {
  for (const Layer& l : all_layers())
    if (l.biased || l.added)
      expect_tensor_cores(first_plan(conv_bias_act_graph(l.problem, epilogue_of(l)).graph, l.problem.type, true,
                                     target(), Generated::are_proposed),
                          l.name);
}

TEST_P(Plans, OneGeneratedKernelOfEachKindCompiles) {
  const auto all = layers({.height = 64, .channel_base = 16384, .activation_type = DType::bf16}, 16);
  const auto named = [&](const char* name) {
    return *std::ranges::find_if(all, [&](const Layer& l) { return l.name.ends_with(name); });
  };
  compile(conv_graph(named("D b64.conv1").problem, Pass::weights, false).graph, "weight gradient");
  const Layer biased = named("D b64.conv0");
  compile(conv_bias_act_graph(biased.problem, epilogue_of(biased)).graph, "fused epilogue");
  const Layer skip = named("D b64.skip");
  compile(conv_bias_act_graph(skip.problem, epilogue_of(skip)).graph, "fused sum");
}

TEST_P(Plans, DISABLED_EveryGeneratedKernelCompiles) {
  for (const Layer& l : all_layers()) {
    if (l.problem.type != DType::bf16) continue;
    compile(conv_graph(l.problem, Pass::weights, false).graph, l.name + " weight gradient");
    if (l.biased || l.added) compile(conv_bias_act_graph(l.problem, epilogue_of(l)).graph, l.name + " fused");
  }
}

TEST_P(Plans, F32RunsOnTensorCoresOnlyWhenItMayRoundToTf32) {
  for (Layer l : layers({.height = 64, .channel_base = 16384}, 16))
    for (const Pass pass : {Pass::forward, Pass::data, Pass::weights}) {
      const Graph graph = conv_graph(l.problem, pass, l.problem.swapped).graph;
      // For small shapes cuDNN's first proposal may do without them, so this asks whether it has any.
      EXPECT_TRUE(std::ranges::any_of(configs(graph, target()), &Config::tensor_cores)) << l.name;
      const Found exact = first_plan(graph, DType::f32, false, target(), Generated::are_compiled);
      ASSERT_TRUE(exact.config) << l.name << " has no plan in f32";
      EXPECT_FALSE(exact.config->tensor_cores) << l.name << ": " << exact.config->name;
      EXPECT_TRUE(exact.config->deterministic) << l.name;
    }
}

// Odd channel counts in bf16 have no kernel that keeps f32 gradients: there the provider lets cuDNN round them once.
TEST_P(Plans, OddChannelsHaveARoundedWeightGradient) {
  const ConvProblem p{.N = 16,
                      .H = 4,
                      .W = 4,
                      .I = 513,
                      .OH = 4,
                      .OW = 4,
                      .O = 512,
                      .KH = 3,
                      .KW = 3,
                      .stride = 1,
                      .pad_y = 1,
                      .pad_x = 1,
                      .type = DType::bf16};
  const auto found = [&](Pass pass) {
    return first_plan(conv_graph(p, pass, false).graph, p.type, true, target(), Generated::are_proposed);
  };
  EXPECT_FALSE(found(Pass::weights).config);
  expect_tensor_cores(found(Pass::weights_rounded), "the rounded gradient");
}

// Groups in bf16 have no gradient of weights in f32, as odd channels have none.
TEST_P(Plans, OblongWindowsAndGroupsHavePlans) {
  for (const DType type : {DType::f32, DType::bf16})
    for (const int groups : {1, 4}) {
      const ConvProblem p{.N = 16,
                          .H = 16,
                          .W = 8,
                          .I = 64,
                          .OH = 16,
                          .OW = 8,
                          .O = 128,
                          .KH = 3,
                          .KW = 1,
                          .stride = 1,
                          .pad_y = 1,
                          .pad_x = 0,
                          .type = type,
                          .groups = groups};
      const bool rounded = type == DType::bf16 && groups > 1;
      for (const Pass pass : {Pass::forward, Pass::data, rounded ? Pass::weights_rounded : Pass::weights}) {
        const auto found =
            first_plan(conv_graph(p, pass, true).graph, type, type == DType::bf16, target(), Generated::are_proposed);
        EXPECT_TRUE(found.config) << name_of(type) << ", " << groups << " groups, pass " << static_cast<int>(pass);
      }
    }
}

TEST_P(Plans, WhatCannotBeIsNotPlanned) {
  const ConvProblem p{.N = 16,
                      .H = 8,
                      .W = 8,
                      .I = 64,
                      .OH = 3,
                      .OW = 8,
                      .O = 64,
                      .KH = 3,
                      .KW = 3,
                      .stride = 1,
                      .pad_y = 1,
                      .pad_x = 1,
                      .type = DType::bf16};
  EXPECT_TRUE(configs(conv_graph(p, Pass::data, true).graph, target()).empty()) << "8 rows do not become 3";
  // Weight gradients in f32 straight from bf16: the reason for the product in their graph.
  Graph plain;
  const Window window{.stride = {1, 1}, .before = {1, 1}, .after = {1, 1}};
  const Value x = plain.input({16, 8, 8, 64}, DType::bf16), y = plain.input({16, 8, 8, 64}, DType::bf16);
  plain.output(plain.conv_backward_weights(window, x, y, {64, 3, 3, 64}), DType::f32);
  EXPECT_FALSE(first_plan(plain, DType::bf16, true, target(), Generated::are_compiled).config);
}

INSTANTIATE_TEST_SUITE_P(Cudnn, Plans, testing::Values("sm_80", "sm_86", "sm_89", "sm_90"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Target, ADescriptionThatIsNoneIsOneLineOfError) {
  try {
    Target::described("{}");
    FAIL() << "accepted";
  } catch (const DeviceError& e) {
    EXPECT_EQ(std::string_view(e.what()).find('\n'), std::string_view::npos);
    EXPECT_TRUE(std::string_view(e.what()).starts_with("cuDNN: ")) << e.what();
  }
}

// The list of shapes is this test's own; the discriminator's account of its layers keeps it honest.
TEST(Shapes, AreThoseOfTheDiscriminator) {
  const StyleGan2Options options{.height = 64, .channel_base = 1024};
  std::map<std::string, double> flops;
  for (const auto& l : StyleGan2Discriminator(options, Device::cpu()).layers()) flops[l.name] = l.flops;
  int compared = 0;
  for (const Layer& l : layers(options, 1)) {
    const size_t at = l.name.find("D ");
    if (at == l.name.npos) continue;
    const ConvProblem& p = l.problem;
    EXPECT_EQ(2.0 * static_cast<double>(p.OH * p.OW * p.O * p.I * p.KH * p.KW), flops[l.name.substr(at + 2)]) << l.name;
    ++compared;
  }
  EXPECT_EQ(compared, 13);
}

}  // namespace
}  // namespace firn::plans
