// Heads of vision-aided discriminators against PyTorch, and what is before them.
#include "models/features/vision_head.h"

#include <gtest/gtest.h>

#include "tests/models/features_support.h"
#include "training/methods/vision_aided.h"

namespace firn {
namespace {

Tensor numbers(const std::string& name, const Shape& shape, double scale = 1) {
  std::vector<double> values = formula_numbers(name, count(shape));
  for (double& v : values) v *= scale;
  return Tensor::from(values, shape, DType::f64, Device::cpu());
}

void expect_close(const std::string& name, const std::vector<double>& got) {
  static const SafetensorsFile golden =
      read_safetensors(std::filesystem::path(FIRN_TEST_DATA) / "golden/vision.safetensors");
  const std::vector<double> want = golden.at(name).to_doubles();
  ASSERT_EQ(got.size(), want.size()) << name;
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(got[i], want[i], 1e-9 * std::max(1.0, std::abs(want[i]))) << name << " " << i;
}

double product(const Tensor& a, const Tensor& b) { return sum(a * b).item(); }

TEST(VisionHead, GivesWhatPyTorchGives) {
  const std::map<std::string, std::vector<Shape>> cases{
      {"one", {{4, 8, 8, 6}}}, {"odd", {{4, 7, 5, 6}}}, {"several", {{4, 7, 7, 5}, {4, 14, 14, 4}}}};
  for (const auto& [name, shapes] : cases)
    for (const HeadKind kind : {HeadKind::spectral, HeadKind::equalised})
      for (const int classes : {0, 3}) {
        const std::string key =
            fmt::format("{}.{}.{}", name, kind == HeadKind::spectral ? "spectral" : "equalised", classes);
        FeatureNetwork::Levels levels;
        std::vector<Tensor> inputs;
        std::vector<std::string> names;
        for (const Shape& shape : shapes) {
          names.push_back(fmt::format("map{}", inputs.size()));
          inputs.push_back(numbers(names.back(), shape).require_grad());
          levels.maps.push_back(inputs.back());
        }
        levels.pooled = numbers("pooled", {4, 9}).require_grad();
        if (shapes.size() > 1) {
          names.push_back("pooled");
          inputs.push_back(levels.pooled);
        }
        const VisionHead head(levels, kind, classes, 1, DType::f64, Device::cpu());
        for (const Parameter& p : head.parameters()) {
          Parameter(p).value().detach().copy_from(numbers(p.name(), p.value().shape(), 0.5));
          if (p.buffer()) continue;
          names.push_back(p.name());
          inputs.push_back(p());
        }
        const Tensor labels = classes ? Tensor::from(std::vector<int32_t>{0, 2, 1, 2}, {4}, Device::cpu()) : Tensor();
        const std::vector<Tensor> logits = head(levels, labels, Mode::eval);
        for (size_t i = 0; i < logits.size(); ++i)
          expect_close(fmt::format("{}.logits.{}", key, i), logits[i].to_doubles());
        const VisionAided o{.smoothing = 0.2};
        expect_close(key + ".fake", vision_loss(o, logits, false, false).to_doubles());
        const Tensor loss = vision_loss(o, logits, true, false);
        expect_close(key + ".real", loss.to_doubles());
        const std::vector<Tensor> slopes = grad(loss, inputs);
        for (size_t i = 0; i < slopes.size(); ++i)
          expect_close(fmt::format("{}.grad.{}", key, names[i]),
                       {product(slopes[i], numbers("by " + names[i], slopes[i].shape()))});
      }
}

TEST(VisionHead, MovesItsPowerIterationsOnlyWhileTraining) {
  const FeatureNetwork::Levels levels{{numbers("map0", {2, 4, 4, 3})}, {}};
  const VisionHead head(levels, HeadKind::spectral, 0, 1, DType::f64, Device::cpu());
  const std::vector<double> before = head.parameters().find("conv.u")->value().to_doubles();
  head(levels, {}, Mode::eval);
  EXPECT_EQ(head.parameters().find("conv.u")->value().to_doubles(), before);
  head(levels);
  EXPECT_NE(head.parameters().find("conv.u")->value().to_doubles(), before);
}

TEST(VisionHead, NamesAMapThatIsTooSmall) {
  const FeatureNetwork::Levels levels{{numbers("map0", {2, 1, 4, 3})}, {}};
  try {
    VisionHead(levels, HeadKind::spectral, 0, 1, DType::f64, Device::cpu());
    FAIL();
  } catch (const ConfigError& e) {
    EXPECT_STREQ(e.what(), "a map of 4x1 is too small to be judged: give the network larger images");
  }
}

TEST(VisionDiscriminator, SeesImagesAsItsNetworkTakesThem) {
  const std::shared_ptr<const FeatureNetwork> network = formula_network("squeezenet/1", {.type = DType::f64});
  const VisionDiscriminator d(network, {.images = {16, 16, 1}, .size = 64, .type = DType::f64}, 1);
  const Tensor gray = numbers("gray", {2, 16, 16, 1});
  std::vector<double> colours;
  for (const double v : resize(gray, 64, 64, Resize::area).to_doubles())
    colours.insert(colours.end(), 3, v * 127.5 + 127.5);
  const auto levels = d.levels(gray);
  const auto wanted =
      network->levels(network->normalise(Tensor::from(colours, {2, 64, 64, 3}, DType::f64, Device::cpu())));
  ASSERT_EQ(levels.maps.size(), 1u);
  const std::vector<double> got = levels.maps[0].to_doubles(), want = wanted.maps[0].to_doubles();
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-9);
  for (const Parameter& p : d.parameters()) EXPECT_FALSE(p.name().starts_with("features")) << p.name();
}

}  // namespace
}  // namespace firn
