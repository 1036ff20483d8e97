// Freezing: what is frozen costs nothing in backward, holds no memory, and changes no other gradient.
#include "models/freeze.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "kernels/device/memory.h"
#include "tests/models/stylegan2_support.h"
#include "tests/training/phase_support.h"

namespace firn {
namespace {

struct Networks : Subject {
  explicit Networks(DType type = DType::f32) : Networks(small_stylegan2(4, type)) {}
  explicit Networks(const StyleGan2Options& o)
      : Subject(o),
        in(batch_of({{"z", normal({4, 16}, 1, o.type)},
                     {"images", normal({4, 32, 32, 3}, 2, o.type)},
                     {"pl_noise", normal({4, 32, 32, 3}, 3, o.type)}})) {}
  PhaseResult run(const std::string& phase) { return Subject::run(phase, in); }
  StyleGan2Generator& g = Subject::g();
  StyleGan2Discriminator& d = Subject::d();
  Inputs in;
};
constexpr const char* phases[] = {"Gmain", "Greg", "Dmain", "Dreg"};

std::map<std::string, std::vector<double>> gradients(const std::string& phase, Networks& n) {
  const PhaseResult result = n.run(phase);
  std::map<std::string, std::vector<double>> named;
  const Parameters trained = n.trained_by(phase).trainable();
  for (size_t i = 0; i < trained.size(); ++i) named[trained[i].name()] = result.gradients[i].to_doubles();
  EXPECT_EQ(named.size(), result.gradients.size());
  return named;
}

// f64 and 1e-12 of the largest number: where three gradients meet, dropping an edge may change the order of addition.
void expect_same(const std::vector<double>& a, const std::vector<double>& b, const std::string& name) {
  ASSERT_EQ(a.size(), b.size());
  double scale = 0;
  for (double v : b) scale = std::max(scale, std::abs(v));
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-12 * scale) << name;
}

void expect_rest_unchanged(const std::vector<std::string>& g_patterns, const std::vector<std::string>& d_patterns) {
  for (const std::string phase : phases) {
    Networks free(DType::f64), frozen(DType::f64);
    frozen.g.parameters().matching(g_patterns).freeze();
    frozen.d.parameters().matching(d_patterns).freeze();
    const auto all = gradients(phase, free), rest = gradients(phase, frozen);
    EXPECT_EQ(rest.size(), frozen.trained_by(phase).trainable().size());
    for (const auto& [name, values] : rest) expect_same(values, all.at(name), phase + " " + name);
  }
}

int64_t weight_gradients(const LaunchCounter& launches) { return launches["conv_backward_weights"]; }

TEST(Freeze, GradientsOfTheRestAreUnchanged) {
  expect_rest_unchanged({}, {"b32.*"});
  expect_rest_unchanged({}, {"b16.*", "b8.*", "b4.*"});  // the opposite subset
  expect_rest_unchanged({}, {"b16.conv0.*"});
  expect_rest_unchanged({}, {"*.bias"});
}

TEST(Freeze, PathLengthGradientsPassThroughFrozenLayers) {
  expect_rest_unchanged({"synthesis.b16.*"}, {});
  expect_rest_unchanged({"mapping.*", "synthesis.b4.*", "synthesis.b8.*"}, {});
  expect_rest_unchanged({"synthesis.*"}, {});
}

TEST(Freeze, R1GradientsPassThroughFrozenLayers) {
  Networks free, frozen;
  frozen.d.parameters()("b32.*", "b16.*").freeze();
  EXPECT_DOUBLE_EQ(free.run("Dreg")["regularizer"].item(), frozen.run("Dreg")["regularizer"].item());
  const auto rest = gradients("Dreg", frozen);
  const std::vector<double>& values = rest.at("b8.conv0.weight");
  EXPECT_TRUE(std::ranges::any_of(values, [](double v) { return v != 0; }));
}

TEST(Freeze, FrozenLayerLaunchesNoWeightGradientKernel) {
  const auto launches = [](const std::vector<std::string>& patterns) {
    Networks n;
    n.d.parameters().matching(patterns).freeze();
    const LaunchCounter counter;
    n.run("Dmain");
    return std::pair(counter["conv_backward_weights"], counter["conv_backward_data"]);
  };
  // Three blocks of conv0, conv1 and skip, and b4.conv. G's three up-convolutions run as backward_data in its forward.
  const auto [weights, data] = launches({});
  EXPECT_EQ(weights, 10);
  EXPECT_EQ(data, 10 + 3);
  // A frozen prefix ends backward: the next block's conv0 and skip need no input gradient either.
  EXPECT_EQ(launches({"b32.*"}), std::pair(weights - 3, data - 3 - 2));
  // A frozen layer in the middle still passes gradients.
  EXPECT_EQ(launches({"b16.conv0.*"}), std::pair(weights - 1, data));
  EXPECT_EQ(launches({"b*"}), std::pair(int64_t{0}, int64_t{3}));
}

TEST(Freeze, AFrozenPrefixIsReleasedDuringForward) {
  StyleGan2Options o = small_stylegan2(4, DType::f64);  // whose kernels need no workspace that would be counted
  o.height = 64;
  const StyleGan2Discriminator d(o, cpu);
  const Tensor images = normal({4, 64, 64, 3}, 1, DType::f64);
  const size_t activation = 4 * 64 * 64 * static_cast<size_t>(o.channels(64)) * sizeof(double);  // of the first layer
  struct Use {
    size_t held, peak;
  };
  const auto forward = [&] {
    const size_t before = kernels::memory_use().live;
    kernels::reset_peak();
    const Tensor logits = d(images);
    return Use{kernels::memory_use().live - before, kernels::memory_use().peak - before};
  };
  const Use all = forward();
  d.parameters()("b64.*", "b32.*", "b16.*", "b8.*").freeze();
  const Use rest = forward();
  d.parameters()("b4.*").freeze();
  const Use none = forward();
  EXPECT_GT(all.held, 3 * activation);
  EXPECT_LT(rest.held, activation / 4);
  EXPECT_LT(none.held, 1000u);
  EXPECT_LT(rest.peak, activation * 36 / 10);  // an input, its skip of half the size, and a layer's two stages
  EXPECT_GT(all.peak, rest.peak);
}

// Without the reals: nothing of them passes through the frozen blocks. The f64 kernels treat samples alike in any
// batch; in f32 and bf16 a library may choose another algorithm for n images than for 2n.
TEST(Freeze, FeaturesStandForTheReals) {
  for (const auto& [type, activations, tolerance] :
       {std::tuple{DType::f64, DType::f64, 0.0}, {DType::f32, DType::f32, 1e-5}, {DType::f32, DType::bf16, 4e-3}}) {
    StyleGan2Options o = small_stylegan2(4, type);
    o.activation_type = activations;
    Networks n(o);
    n.d.parameters()("b32.*", "b16.*", "b8.conv1.*").freeze();
    const auto uncached = gradients("Dmain", n);
    n.in = batch_of({{"z", n.in["z"]}, {"features", n.d.features(n.in["images"])}});
    EXPECT_EQ(n.in["features"].shape(), (Shape{4, 8, 8, 16}));
    EXPECT_EQ(n.in["features"].type(), activations == DType::bf16 ? DType::bf16 : type);
    for (const auto& [name, values] : gradients("Dmain", n)) {
      const std::vector<double>& expected = uncached.at(name);
      double scale = 0;
      for (const double v : expected) scale = std::max(scale, std::abs(v));
      for (size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(values[i], expected[i], tolerance * scale) << name;
    }
  }
}

TEST(Freeze, OnlyWholeBlocksInFrontHaveFeatures) {
  Networks n;
  const auto frozen = [&](const std::vector<std::string>& patterns) {
    n.d.parameters().unfreeze();
    n.d.parameters().matching(patterns).freeze();
    return n.d.frozen_blocks();
  };
  EXPECT_EQ(frozen({"b16.*"}), 0);
  EXPECT_THROW(n.d.features(n.in["images"]), ConfigError);
  EXPECT_EQ(frozen({"b32.conv*", "b32.fromrgb.*"}), 0);  // its skip trains
  EXPECT_EQ(frozen({"b32.*", "b16.conv0.*", "b8.*"}), 1);
  EXPECT_EQ(frozen({"b*"}), 3);
  EXPECT_THROW(n.d.logits(n.in["images"]), ShapeError);
  StyleGan2Options o = small_stylegan2(4);
  o.d_architecture = Architecture::skip;
  const StyleGan2Discriminator skip(o, cpu);
  skip.parameters()("b32.*").freeze();
  EXPECT_THROW(skip.features(n.in["images"]), ConfigError);
}

TEST(Tape, R1FirstPassLaunchesNoWeightGradient) {
  Networks n;
  const Tensor images = n.in["images"].require_grad(), logits = n.d(images);
  const LaunchCounter launches;
  const Tensor slopes = grad(logits, {images}, {.create_graph = true})[0];
  EXPECT_EQ(weight_gradients(launches), 0);
  EXPECT_EQ(launches["conv_backward_data"], 10);
  EXPECT_TRUE(slopes.wants_grad());
}

TEST(Phases, GeneratorStepComputesNoDiscriminatorWeightGradient) {
  Networks n;
  const LaunchCounter launches;
  n.run("Gmain");
  EXPECT_EQ(weight_gradients(launches), 7);  // G's 3x3 convolutions: one at 4x4, two at 8, 16 and 32
  EXPECT_EQ(n.d.parameters().trainable().size(), n.d.parameters().size());
}

TEST(Phases, DiscriminatorStepRecordsNothingOfTheGenerator) {
  Networks n;
  std::map<std::string, int64_t> inference;
  {
    const NoGrad scope;
    const LaunchCounter launches;
    n.g.synthesize(n.g.broadcast(n.g.map(n.in["z"], {})), NoiseMode::constant);
    inference = launches.counts();
  }
  const LaunchCounter launches;
  n.run("Dmain");
  // Only G uses these two, and the gradient of each would launch them again.
  for (const char* kernel : {"scale_channels", "dot_pixels"})
    EXPECT_EQ(launches[kernel], inference.at(kernel)) << kernel;
  EXPECT_EQ(weight_gradients(launches), 10);
}

TEST(Phases, ANetworkWithNothingToTrainGetsNoGradients) {
  for (const std::string phase : phases) {
    Networks n;
    n.trained_by(phase).freeze();
    EXPECT_TRUE(n.run(phase).gradients.empty()) << phase;
  }
  Networks n;  // R1 does not depend on the last bias
  n.d.parameters().freeze();
  n.d.parameters()("b4.out.bias").unfreeze();
  EXPECT_EQ(n.run("Dreg").gradients.at(0).item(), 0);
}

// What a network records needlessly shows as memory: neither phase needs more than when the network that it only passes
// through is frozen beforehand.
TEST(Phases, TheOtherNetworkCapturesNothing) {
  const auto peak = [](const std::string& phase, bool freeze_other) {
    Networks n(DType::f64);
    if (freeze_other) (phase[0] == 'G' ? n.d.parameters() : n.g.parameters()).freeze();
    kernels::reset_peak();
    const size_t before = kernels::memory_use().live;
    n.run(phase);
    return kernels::memory_use().peak - before;
  };
  for (const char* phase : {"Gmain", "Dmain"}) EXPECT_EQ(peak(phase, false), peak(phase, true)) << phase;
}

std::vector<std::string> frozen_names(const Parameters& parameters) {
  std::vector<std::string> names;
  for (const Parameter& p : parameters)
    if (p.frozen() && !p.buffer()) names.push_back(p.name());
  return names;
}

TEST(FreezeOptions, BlocksAreThoseOfTheHighestResolution) {
  Networks n;
  EXPECT_EQ(freeze_d_blocks(n.d, 2), (std::vector<std::string>{"b32.*", "b16.*"}));
  apply({.blocks = 1}, n.g, n.d);
  EXPECT_EQ(frozen_names(n.d.parameters()),
            (std::vector<std::string>{"b32.fromrgb.weight", "b32.fromrgb.bias", "b32.conv0.weight", "b32.conv0.bias",
                                      "b32.conv1.weight", "b32.conv1.bias", "b32.skip.weight"}));
  EXPECT_TRUE(frozen_names(n.g.parameters()).empty());
  EXPECT_THROW(apply({.blocks = 4}, n.g, n.d), ConfigError);  // 32, 16 and 8 are all
  EXPECT_THROW(freeze_d_blocks(n.d, -1), ConfigError);
  EXPECT_EQ(freezable_blocks(n.d), 3);
}

TEST(FreezeOptions, ADepthThatIsStillOpenFreezesNothing) {
  Networks n;
  apply({.blocks = -1}, n.g, n.d);
  EXPECT_TRUE(frozen_names(n.d.parameters()).empty());
}

// The published table of frozen numbers at 256x256: --freezed 13 is the FreezeD paper's four blocks.
TEST(FreezeOptions, LayersAreCountedAsStylegan2AdaDoes) {
  const StyleGan2Discriminator d({.height = 256}, cpu);
  for (const auto& [layers, count] : std::map<int, int64_t>{
           {1, 256}, {4, 119232}, {7, 594752}, {10, 2496064}, {13, 7477824}, {16, 12459584}, {19, 17441344}})
    EXPECT_EQ(d.parameters().matching(freeze_d_layers(d, layers)).count(), count) << layers;
  EXPECT_THROW(freeze_d_layers(d, 20), ConfigError);

  StyleGan2Options o = small_stylegan2(4);
  o.d_architecture = Architecture::skip;  // a fromrgb in each block
  EXPECT_EQ(freeze_d_layers(StyleGan2Discriminator(o, cpu), 4).back(), "b16.fromrgb.*");
  o.d_architecture = Architecture::orig;
  EXPECT_EQ(freeze_d_layers(StyleGan2Discriminator(o, cpu), 4).back(), "b16.conv0.*");
}

TEST(FreezeOptions, PatternsNameTensorsAndLayers) {
  Networks n;
  apply({.patterns = {"D:b32.conv0,b4.fc.bias,b8.*.weight", "G:synthesis.b4.const"}}, n.g, n.d);
  EXPECT_EQ(frozen_names(n.d.parameters()),
            (std::vector<std::string>{"b32.conv0.weight", "b32.conv0.bias", "b8.conv0.weight", "b8.conv1.weight",
                                      "b8.skip.weight", "b4.fc.bias"}));
  EXPECT_EQ(frozen_names(n.g.parameters()), (std::vector<std::string>{"synthesis.b4.const"}));
  apply({.patterns = {"G:mapping"}}, n.g, n.d);
  EXPECT_EQ(frozen_names(n.g.parameters()).size(), 5u);
  for (const char* wrong : {"b32.conv0", "D:b64.conv0", "D:", "D:b32.conv0,,b16.conv0", "X:b32.*", "", "D:b32.conv"})
    EXPECT_THROW(apply({.patterns = {wrong}}, n.g, n.d), ConfigError) << wrong;
}

TEST(FreezeTable, CountsNumbersAndTheWorkThatIsGone) {
  Networks n;
  EXPECT_EQ(freeze_table(n.d).frozen, 0);
  EXPECT_EQ(freeze_table(n.d).backward_removed, 0);
  apply({.blocks = 3}, n.g, n.d);
  const FreezeTable table = freeze_table(n.d);
  EXPECT_EQ(table.total, n.d.parameters().count());
  EXPECT_EQ(table.frozen, n.d.parameters()("b32.*", "b16.*", "b8.*").count());
  EXPECT_EQ(table.rows[2].shape, (Shape{8, 8, 3, 3}));
  EXPECT_TRUE(table.rows[2].frozen);
  // What is left: b4.conv without its input gradient, and both products of the last two layers.
  const double conv = 2.0 * 16 * 16 * 17 * 9, fc = 2.0 * 256 * 16, out = 2.0 * 16;
  EXPECT_DOUBLE_EQ(backward_flops(n.d), conv + 2 * fc + 2 * out);
  EXPECT_DOUBLE_EQ(table.backward_removed, 1 - backward_flops(n.d) / backward_flops(n.d, true));
  EXPECT_NE(to_string(table).find("b32.conv0.weight"), std::string::npos);

  n.d.parameters().unfreeze();
  const double all = backward_flops(n.d);
  n.d.parameters()("b32.fromrgb.*", "b32.conv0.*").freeze();  // conv1 then needs no input gradient, nor does skip
  const auto layers = n.d.layers();
  EXPECT_DOUBLE_EQ(backward_flops(n.d),
                   all - layers[0].flops - 2 * layers[1].flops - layers[2].flops - layers[3].flops);
  n.d.parameters()("b32.conv0.*").unfreeze();
  EXPECT_DOUBLE_EQ(backward_flops(n.d), all - layers[0].flops - layers[1].flops - layers[3].flops);
}

}  // namespace
}  // namespace firn
