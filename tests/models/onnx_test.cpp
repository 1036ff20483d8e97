// The structure of exported graphs; their numbers are held against gan-sample by tests/onnx/check.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "models/files.h"
#include "models/layers/miner.h"
#include "models/onnx/generator.h"
#include "models/sngan/sngan.h"
#include "models/stylegan/stylegan.h"
#include "tests/io/io_support.h"
#include "tests/models/stylegan2_support.h"

namespace firn {
namespace {

using onnx::Part;
using onnx::to_graph;

struct Case {
  std::string name;
  std::function<std::unique_ptr<Generator>()> make;
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
};

template <class Network, class Options>
Case made_of(const std::string& name, const Options& options) {
  return {name, [options] { return std::make_unique<Network>(options, cpu); }};
}

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto style = [&](const char* name, auto change) {
    StyleGan2Options o = small_stylegan2(4);
    change(o);
    all.push_back(made_of<StyleGan2Generator>(name, o));
  };
  style("skip", [](StyleGan2Options&) {});
  style("resnet", [](StyleGan2Options& o) { o.g_architecture = Architecture::resnet; });
  style("orig", [](StyleGan2Options& o) { o.g_architecture = Architecture::orig, o.conv_clamp = 256; });
  style("conditional", [](StyleGan2Options& o) { o.c_dim = 3; });
  style("rectangular", [](StyleGan2Options& o) { o.height = 16, o.width = 32, o.img_channels = 1; });
  style("scaled", [](StyleGan2Options& o) { o.output_scale = o.modulated = true; });
  style("f64", [](StyleGan2Options& o) { o.c_dim = 3, o.type = DType::f64; });
  all.push_back(made_of<StyleGanGenerator>(
      "stylegan",
      StyleGanOptions{.height = 16, .z_dim = 16, .channel_base = 128, .channel_max = 8, .mapping_layers = 2}));
  all.push_back(made_of<SnganGenerator>("sngan", SnganOptions{.z_dim = 16, .ch = 4}));
  all.push_back(
      made_of<SnganGenerator>("sngan_conditional", SnganOptions{.height = 64, .c_dim = 3, .z_dim = 16, .ch = 4}));
  return all;
}

const StoredTensor* initializer(const OnnxGraph& graph, const std::string& name) {
  for (const auto& [its_name, tensor] : graph.initializers)
    if (its_name == name) return &tensor;
  return nullptr;
}

std::vector<std::string> names(const std::vector<OnnxValue>& values) {
  std::vector<std::string> all;
  for (const OnnxValue& v : values) all.push_back(v.name);
  return all;
}

std::vector<int64_t> integers(const StoredTensor& t) {
  std::vector<int64_t> values(size_t(t.count()));
  std::memcpy(values.data(), t.bytes.data(), t.bytes.size());
  return values;
}

struct OnnxGraphs : testing::TestWithParam<Case> {
  std::unique_ptr<Generator> g = GetParam().make();
};

TEST_P(OnnxGraphs, AreOfWidelyKnownNodesThatDoNotMoveImages) {
  const std::set<std::string> known = {
      "Add",       "Shape",  "Transpose", "Cast",   "Clip",      "Concat", "Conv", "ConvTranspose", "Expand",
      "Gather",    "Gemm",   "Identity",  "MatMul", "LeakyRelu", "Mul",    "Relu", "Reshape",       "Reciprocal",
      "ReduceSum", "Resize", "Round",     "Slice",  "Sqrt",      "Sub",    "Tanh"};
  int moves = 0;
  for (const OnnxNode& node : to_graph(*g, {}).nodes) {
    moves += node.op == "Transpose";
    EXPECT_TRUE(known.contains(node.op)) << node.op;
  }
  EXPECT_EQ(moves, GetParam().name == "stylegan" ? 2 : 0);  // to colours, as a product of all pixels, and back
}

TEST_P(OnnxGraphs, HaveEachValueOnceBeforeItIsNeededAndNoneThatIsNot) {
  const OnnxGraph graph = to_graph(*g, {});
  std::set<std::string> there, needed;
  for (const OnnxValue& v : graph.inputs) EXPECT_TRUE(there.insert(v.name).second) << v.name;
  for (const auto& [name, tensor] : graph.initializers) EXPECT_TRUE(there.insert(name).second || name == "psi") << name;
  for (const OnnxNode& node : graph.nodes) {
    for (const std::string& input : node.inputs) {
      EXPECT_TRUE(input.empty() || there.contains(input)) << input;
      needed.insert(input);
    }
    EXPECT_TRUE(there.insert(node.output).second) << node.output;
  }
  for (const OnnxValue& v : graph.outputs) needed.insert(v.name);
  for (const std::string& name : there) EXPECT_TRUE(needed.contains(name)) << name;
}

TEST_P(OnnxGraphs, TakeAnyNumberOfLatentsAndGiveBytesWithChannelsFirst) {
  const OnnxGraph graph = to_graph(*g, {});
  EXPECT_EQ(graph.inputs[0].name, "z");
  EXPECT_EQ(graph.inputs[0].shape, (Shape{-1, 16}));
  if (g->classes()) {
    EXPECT_EQ(graph.inputs[1].name, "labels");
    EXPECT_EQ(graph.inputs[1].type, OnnxType::i64);
    EXPECT_EQ(graph.inputs[1].shape, (Shape{-1}));
  }
  ASSERT_EQ(names(graph.outputs), std::vector<std::string>{"images"});
  EXPECT_EQ(graph.outputs[0].type, OnnxType::u8);
  const Tensor labels = g->classes() ? Tensor::zeros({1}, DType::i32, cpu) : Tensor{};
  const Shape images = g->forward(Tensor::zeros({1, 16}, g->type(), cpu), labels).shape();
  EXPECT_EQ(graph.outputs[0].shape, (Shape{-1, images[3], images[1], images[2]}));
  // No shape is of as many images as it was made with.
  for (const OnnxNode& node : graph.nodes) {
    if (node.op != "Reshape") continue;
    EXPECT_EQ(integers(*initializer(graph, node.inputs[1]))[0], -1) << node.output;
  }
}

TEST_P(OnnxGraphs, HaveTheConvolutionsOfTheSnapshot) {
  const OnnxGraph graph = to_graph(*g, {});
  int compared = 0;
  for (const OnnxNode& node : graph.nodes) {
    const Parameter* p = node.op == "Conv" ? g->parameters().find(node.inputs[1]) : nullptr;
    if (!p) continue;
    ++compared;
    const StoredTensor& there = *initializer(graph, node.inputs[1]);
    EXPECT_EQ(there.shape, file_shape(*p)) << p->name();
    EXPECT_EQ(there.to_floats(), stored(*p).to_floats()) << p->name();
  }
  const bool scaled = GetParam().name == "scaled" || GetParam().name == "stylegan";  // weights in use are products
  EXPECT_GE(compared, scaled ? 0 : 3);
}

INSTANTIATE_TEST_SUITE_P(, OnnxGraphs, testing::ValuesIn(cases()), [](const auto& info) { return info.param.name; });

std::unique_ptr<Generator> styled() { return cases()[0].make(); }
std::unique_ptr<Generator> unstyled() { return cases().back().make(); }

TEST(Onnx, PsiMayBeLeftOutUnlessItHasToBeGiven) {
  const OnnxGraph graph = to_graph(*styled(), {.psi = 0.5});
  EXPECT_EQ(names(graph.inputs), (std::vector<std::string>{"z", "psi"}));
  EXPECT_EQ(initializer(graph, "psi")->to_floats(), std::vector<float>{0.5f});
  const OnnxGraph wants = to_graph(*styled(), {.psi_by_default = false});
  EXPECT_EQ(names(wants.inputs), (std::vector<std::string>{"z", "psi"}));
  EXPECT_EQ(initializer(wants, "psi"), nullptr);
  EXPECT_EQ(names(to_graph(*styled(), {.cutoff = 0}).inputs), std::vector<std::string>{"z"});
  EXPECT_EQ(names(to_graph(*unstyled(), {}).inputs), (std::vector<std::string>{"z", "labels"}));
}

TEST(Onnx, HalvesMeetAtTheStyles) {
  const OnnxGraph mapping = to_graph(*styled(), {.part = Part::mapping});
  const OnnxGraph synthesis = to_graph(*styled(), {.part = Part::synthesis});
  EXPECT_EQ(names(mapping.inputs), (std::vector<std::string>{"z", "psi"}));
  ASSERT_EQ(names(mapping.outputs), std::vector<std::string>{"ws"});
  EXPECT_EQ(mapping.outputs[0].type, OnnxType::f32);
  ASSERT_EQ(names(synthesis.inputs), std::vector<std::string>{"ws"});
  EXPECT_EQ(mapping.outputs[0].shape, synthesis.inputs[0].shape);
  EXPECT_EQ(names(synthesis.outputs), std::vector<std::string>{"images"});
  EXPECT_LT(mapping.nodes.size() + synthesis.nodes.size(), to_graph(*styled(), {}).nodes.size() + 3);
}

TEST(Onnx, FloatImagesAreNotRounded) {
  const OnnxGraph graph = to_graph(*styled(), {.bytes = false});
  EXPECT_EQ(graph.outputs[0].type, OnnxType::f32);
  EXPECT_FALSE(std::ranges::count(graph.nodes, "Round", &OnnxNode::op));
}

TEST(Onnx, WithoutNoiseThereAreFewerSums) {
  const auto sums = [](const OnnxGraph& graph) { return std::ranges::count(graph.nodes, "Add", &OnnxNode::op); };
  const OnnxGraph with = to_graph(*styled(), {}), without = to_graph(*styled(), {.noise = NoiseMode::none});
  EXPECT_EQ(sums(with) - sums(without), 7);  // convolutions of a network of 32 pixels
}

TEST(Onnx, LabelsPickRowsOfTheEmbedding) {
  const OnnxGraph graph = to_graph(*cases()[3].make(), {});
  const auto gather = std::ranges::find(graph.nodes, "Gather", &OnnxNode::op);
  ASSERT_NE(gather, graph.nodes.end());
  EXPECT_EQ(gather->inputs[1], "labels");
  EXPECT_EQ(initializer(graph, gather->inputs[0])->shape, (Shape{3, 16}));
}

TEST(Onnx, LatentsPassTheMinerFirst) {
  const auto g = styled();
  const size_t before = to_graph(*g, {}).nodes.size();
  g->mine_with(std::make_shared<Miner>(16, 0, DType::f32, cpu));
  EXPECT_EQ(to_graph(*g, {}).nodes.size(), before + 5);  // two products, two sums, a ReLU
}

TEST(Onnx, WhatANetworkHasNotIsSaid) {
  EXPECT_THROW(to_graph(*unstyled(), {.psi = 0.5}), ConfigError);
  EXPECT_THROW(to_graph(*unstyled(), {.cutoff = 2}), ConfigError);
  EXPECT_THROW(to_graph(*unstyled(), {.part = Part::mapping}), ConfigError);
  EXPECT_THROW(to_graph(*unstyled(), {.part = Part::synthesis}), ConfigError);
  const auto g = styled();
  g->sample_with([](const Tensor& z) { return z; });
  EXPECT_THROW(to_graph(*g, {}), ConfigError);
}

// A generator of one layer, as somebody's model may have it.
struct OneLayer : Generator {
  explicit OneLayer(std::function<Tensor(const Tensor&)> f) : Generator(cpu), layer(std::move(f)) {}
  int z_dim() const override { return 12; }
  int classes() const override { return 0; }
  DType type() const override { return DType::f32; }
  Tensor forward(const Tensor& z, const Tensor&, Rng*) const override { return layer(z); }
  Code code(const Tensor& z, const Tensor&, Truncation) const override { return {z, {}}; }
  Tensor image(const Code& code, const Noise&) const override { return layer(code.values); }
  std::function<Tensor(const Tensor&)> layer;
};

std::vector<std::string> ops(const OnnxGraph& graph) {
  std::vector<std::string> all;
  for (const OnnxNode& node : graph.nodes) all.push_back(node.op);
  return all;
}

TEST(Onnx, AModelOfAnyOpsIsWrittenAsItRuns) {
  const Tensor table = normal({1, 2, 2, 3}, 1);
  const OneLayer g([&](const Tensor& z) { return average_pool(upsample_nearest(reshape(z, {-1, 2, 2, 3}) * table)); });
  EXPECT_EQ(ops(to_graph(g, {.bytes = false})),
            (std::vector<std::string>{"Reshape", "Mul", "Transpose", "Resize", "AveragePool", "Identity"}));
}

TEST(Onnx, WhatAllImagesHaveInCommonIsComputedForOne) {
  const Tensor c = normal({1, 2, 2, 3}, 1), w = normal({3, 1, 1, 3}, 2);
  const OneLayer g([&](const Tensor& z) {
    return reshape(z, {-1, 2, 2, 3}) + conv2d(expand(c, {z.dim(0), 2, 2, 3}, c.type()), w);
  });
  EXPECT_EQ(ops(to_graph(g, {.bytes = false})), (std::vector<std::string>{"Reshape", "Add", "Transpose", "Identity"}));
}

TEST(Onnx, WhatAllImagesHaveInCommonIsRepeatedWhereItMustBe) {
  const Tensor c = normal({1, 2, 2, 3}, 1);
  const OneLayer g([&](const Tensor& z) {
    return concat({expand(c, {z.dim(0), 2, 2, 3}, c.type()), reshape(z, {-1, 2, 2, 3})}, 3);
  });
  const OnnxGraph graph = to_graph(g, {.bytes = false});
  EXPECT_EQ(std::ranges::count(graph.nodes, "Shape", &OnnxNode::op), 1);
  EXPECT_EQ(std::ranges::count(graph.nodes, "Expand", &OnnxNode::op), 1);
}

TEST(Onnx, ImagesThatLieBesideOneAnotherAreNotMovedEither) {
  const Tensor gamma = normal({12}, 1), w = normal({4, 3, 3, 4}, 2);
  const OneLayer g([&](const Tensor& z) {
    const int64_t n = z.dim(0);
    const Tensor x = conv2d(upsample_nearest(reshape(z, {n, 1, 3, 4})), w, {.pad = 1});
    const Tensor rows = reshape(permute(x, {1, 2, 0, 3}), {12, n * 4}), s = reshape(slice(z, 1, 0, 4), {n * 4});
    return permute(reshape(batch_norm(rows, s, s), {2, 6, n, 4}), {2, 0, 1, 3});
  });
  const OnnxGraph graph = to_graph(g, {.bytes = false});
  EXPECT_EQ(std::ranges::count(graph.nodes, "Transpose", &OnnxNode::op), 1);  // of z, which is an image already
}

TEST(Onnx, AnOpThatFilesDoNotHaveIsNamed) {
  const OneLayer g([](const Tensor& z) { return reshape(softmax(z), {-1, 2, 2, 3}); });
  try {
    to_graph(g, {});
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_MENTIONS(std::string(e.what()), "softmax");
  }
}

TEST(Onnx, ValuesThatPassedTheHostAreNoticed) {
  const OneLayer g([](const Tensor& z) {
    return reshape(Tensor::from(z.to_doubles(), z.shape(), z.type(), cpu) * 2, {-1, 2, 2, 3});
  });
  EXPECT_THROW(to_graph(g, {}), ConfigError);
}

}  // namespace
}  // namespace firn
