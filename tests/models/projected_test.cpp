// Projected discriminators against PyTorch, and the maps of frozen networks that they judge.
#include "models/features/projected.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/models/features_support.h"
#include "training/objectives/objective.h"

namespace firn {
namespace {

Tensor numbers(const std::string& name, const Shape& shape, double scale = 1, double shift = 0) {
  std::vector<double> values = formula_numbers(name, count(shape));
  for (double& v : values) v = v * scale + shift;
  return Tensor::from(values, shape, DType::f64, Device::cpu());
}

void expect_close(const std::string& name, const std::vector<double>& got) {
  static const SafetensorsFile golden =
      read_safetensors(std::filesystem::path(FIRN_TEST_DATA) / "golden/projected.safetensors");
  const std::vector<double> want = golden.at(name).to_doubles();
  ASSERT_EQ(got.size(), want.size()) << name;
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(got[i], want[i], 1e-9 * std::max(1.0, std::abs(want[i]))) << name << " " << i;
}

double product(const Tensor& a, const Tensor& b) { return sum(a * b).item(); }

// Of any image the maps that it holds.
class Maps : public FeatureNetwork {
 public:
  explicit Maps(const std::vector<Shape>& shapes) : FeatureNetwork({.type = DType::f64}, Device::cpu()) {
    for (const Shape& shape : shapes) all.push_back(numbers(fmt::format("map{}", all.size()), shape).require_grad());
  }
  int size() const override { return 8; }
  int features() const override { return 1; }
  Output operator()(const Tensor&) const override { return {}; }
  std::vector<Tensor> pyramid(const Tensor&) const override { return all; }
  std::vector<Tensor> all;
};

const Tensor kImages = Tensor::zeros({4, 8, 8, 3}, DType::f64, Device::cpu());

ProjectedDiscriminator projected(std::shared_ptr<const FeatureNetwork> maps, int classes) {
  ProjectedDiscriminator d(std::move(maps), {.images = {8, 8, 3}, .size = 8, .classes = classes, .type = DType::f64},
                           1);
  for (const Parameter& p : d.parameters())
    Parameter(p).value().detach().copy_from(
        numbers(p.name(), p.value().shape(), 0.5, p.name().ends_with("gamma") ? 1 : 0));
  return d;
}

TEST(ProjectedDiscriminator, GivesWhatPyTorchGives) {
  for (const int classes : {0, 3}) {
    const auto maps =
        std::make_shared<Maps>(std::vector<Shape>{{4, 9, 9, 5}, {4, 5, 5, 4}, {4, 4, 4, 6}, {4, 4, 4, 3}});
    const ProjectedDiscriminator d = projected(maps, classes);
    const Tensor labels = classes ? Tensor::from(std::vector<int32_t>{0, 2, 1, 2}, {4}, Device::cpu()) : Tensor();
    const Tensor logits = d(kImages, labels, 2, Mode::eval);
    const std::string key = fmt::to_string(classes);
    expect_close(key + ".logits", logits.to_doubles());
    const Tensor loss = d_loss(GanLoss::hinge, slice(logits, 0, 2, 4), slice(logits, 0, 0, 2));
    expect_close(key + ".loss", loss.to_doubles());
    std::vector<Tensor> inputs = maps->all;
    std::vector<std::string> names{"map0", "map1", "map2", "map3"};
    for (const Parameter& p : d.parameters().trainable()) {
      inputs.push_back(p());
      names.push_back(p.name());
    }
    const std::vector<Tensor> slopes = grad(loss, inputs);
    for (size_t i = 0; i < slopes.size(); ++i)
      expect_close(fmt::format("{}.grad.{}", key, names[i]),
                   {product(slopes[i], numbers("by " + names[i], slopes[i].shape()))});
    const NoGrad no_grad;
    EXPECT_EQ(d.logits(d.features(kImages), labels, 2, Mode::eval).to_doubles(), logits.to_doubles());
  }
}

TEST(ProjectedDiscriminator, MovesItsPowerIterationsOnlyWhileTraining) {
  const auto maps = std::make_shared<Maps>(std::vector<Shape>(4, Shape{4, 4, 4, 3}));
  const ProjectedDiscriminator d = projected(maps, 0);
  const std::vector<double> before = d.parameters().find("judge0.out.u")->value().to_doubles();
  d(kImages, {}, 1, Mode::eval);
  EXPECT_EQ(d.parameters().find("judge0.out.u")->value().to_doubles(), before);
  d(kImages);
  EXPECT_NE(d.parameters().find("judge0.out.u")->value().to_doubles(), before);
  for (const Parameter& p : d.parameters())
    EXPECT_EQ(p.frozen(), p.name().starts_with("mix") || p.name().ends_with(".u"));
}

TEST(ProjectedDiscriminator, NamesMapsThatAreTooSmall) {
  const auto maps = std::make_shared<Maps>(std::vector<Shape>(4, Shape{4, 3, 3, 2}));
  try {
    projected(maps, 0);
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_STREQ(e.what(), "maps of 3 rows are too small to be judged: give the network larger images");
  }
}

// [rows,channels] of the four.
using Sizes = std::vector<std::pair<int64_t, int64_t>>;

TEST(Pyramid, HasFourMapsFromShallowToDeep) {
  const std::map<std::string, std::pair<int, Sizes>> expected{
      {"efficientnet-lite1/1", {64, {{16, 24}, {8, 40}, {4, 112}, {2, 320}}}},
      {"mobilenetv2/1", {64, {{16, 24}, {8, 32}, {4, 96}, {2, 320}}}},
      {"squeezenet/1", {63, {{31, 64}, {15, 128}, {7, 256}, {3, 512}}}},
      {"vgg16/8", {32, {{16, 16}, {8, 32}, {4, 64}, {2, 64}}}},
      {"inception/16", {299, {{71, 12}, {35, 18}, {17, 48}, {8, 128}}}},
      {"clip-vit-b32/6", {224, {{7, 128}, {7, 128}, {7, 128}, {7, 128}}}},
      {"dino-vit-b16/6", {224, {{14, 128}, {14, 128}, {14, 128}, {14, 128}}}},
  };
  for (const auto& [key, e] : expected) {
    const auto network = formula_network(key, {});
    const NoGrad no_grad;
    Sizes found;
    for (const Tensor& map : network->pyramid(Tensor::zeros({1, e.first, e.first, 3}, DType::f32, Device::cpu())))
      found.emplace_back(map.dim(1), map.dim(3));
    EXPECT_EQ(found, e.second) << key;
  }
}

}  // namespace
}  // namespace firn
