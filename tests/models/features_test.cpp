// Feature networks against tests/golden/features.py, which defines them in PyTorch; and what is said of weights.
#include "models/features/features.h"

#include <cmath>
#include <cstdlib>

#include "io/pytorch_file.h"
#include "models/features/lpips.h"
#include "models/features/networks.h"
#include "tests/models/features_support.h"

namespace firn {
namespace {

// The largest difference, relative to the largest value.
double difference(const Tensor& t, const std::string& name) {
  const std::vector<double> want = golden_features().at(name).to_doubles(), got = t.to_doubles();
  EXPECT_EQ(golden_features().at(name).shape, t.shape()) << name;
  double worst = 0, largest = 0;
  for (size_t i = 0; i < std::min(want.size(), got.size()); ++i) {
    worst = std::max(worst, std::isfinite(got[i]) ? std::abs(got[i] - want[i]) : INFINITY);
    largest = std::max(largest, std::abs(want[i]));
  }
  return worst / largest;
}

std::string letters_of(const std::string& key) {
  std::string letters;
  for (const char c : key.substr(0, key.find('/')))
    if (std::isalnum(c)) letters += c;
  return letters;
}

class Features : public testing::TestWithParam<std::pair<const char*, const char*>> {};  // narrow and wide

void expect_near(const std::string& key, FeatureOptions options, double tolerance, int64_t n = 2) {
  const NoGrad inference;
  const auto net = formula_network(key, options);
  const auto [features, logits] = (*net)(formula_images("images", n, net->size(), options.type));
  EXPECT_EQ(features.dim(1), net->features());
  EXPECT_LT(difference(features, key + ".features"), tolerance) << key;
  if (golden_features().contains(key + ".logits"))
    EXPECT_LT(difference(logits, key + ".logits"), tolerance) << key;
  else
    EXPECT_FALSE(logits.defined());
}

TEST_P(Features, AreThoseOfPyTorchInDoublePrecision) { expect_near(GetParam().first, {.type = DType::f64}, 1e-9); }

TEST_P(Features, AreThoseOfPyTorchInSinglePrecision) {
  expect_near(GetParam().first, {.type = DType::f32}, 1e-4);
  expect_near(GetParam().second, {.type = DType::f32}, 1e-4);
}

TEST_P(Features, InHalfPrecisionTheyAreNear) { expect_near(GetParam().first, {.type = DType::bf16}, 0.2); }

INSTANTIATE_TEST_SUITE_P(
    Networks, Features,
    testing::Values(std::pair{"inception/16", "inception/4"}, std::pair{"vgg16/16", "vgg16/8"},
                    std::pair{"squeezenet/8", "squeezenet/1"}, std::pair{"mobilenetv2/8", "mobilenetv2/1"},
                    std::pair{"efficientnet-lite1/8", "efficientnet-lite1/1"},
                    std::pair{"clip-vit-b32/6", "clip-vit-b32/3"}, std::pair{"dino-vit-b16/6", "dino-vit-b16/3"},
                    std::pair{"dinov2-vit-s14/6", "dinov2-vit-s14/3"}, std::pair{"swin-t/3", "swin-t/3"},
                    std::pair{"swin-t-coco/3", "swin-t-coco/3"},
                    std::pair{"vgg16-antialiased/16", "vgg16-antialiased/8"}, std::pair{"unet-faces/4", "unet-faces/1"},
                    std::pair{"resnet18-normals/8", "resnet18-normals/4"}),
    [](const auto& info) { return letters_of(info.param.first); });

// Every `step`-th along an axis from `begin` on.
Tensor every(const Tensor& x, int axis, int64_t begin, int64_t step) {
  std::vector<Tensor> some;
  for (int64_t i = begin; i < x.dim(axis); i += step) some.push_back(slice(x, axis, i, i + 1));
  return concat(some, axis);
}

class Levels : public testing::TestWithParam<const char*> {};

TEST_P(Levels, AndTheirGradientByTheImageAreThoseOfPyTorch) {
  const std::string name = GetParam(), key = name.substr(0, name.find('/')) + ".levels.";
  for (const auto& [type, tolerance] : {std::pair{DType::f64, 1e-9}, std::pair{DType::f32, 1e-4}}) {
    const auto net = formula_network(name, {.type = type});
    const Tensor x = formula_images("levels", 1, net->size(), type, 127.5 / 64, 127.5 / 64 - 2).require_grad();
    const auto [maps, pooled] = net->levels(x);
    ASSERT_EQ(maps.size(), name.find("vit") == name.npos ? 1u : 2u);
    Tensor total = sum(square(pooled));
    for (size_t i = 0; i < maps.size(); ++i) {
      const Tensor seen = every(every(every(maps[i], 1, 1, 3), 2, 2, 4), 3, 0, 5);
      EXPECT_LT(difference(seen, fmt::format("{}{}", key, i)), tolerance);
      total = total + sum(square(maps[i]));
    }
    EXPECT_LT(difference(pooled, fmt::format("{}{}", key, maps.size())), tolerance);
    const Tensor g = grad(total, {x})[0];
    EXPECT_LT(difference(every(every(g, 1, 3, 37), 2, 5, 31), key + "gradient"), tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, Levels,
                         testing::Values("clip-vit-b32/6", "dino-vit-b16/6", "dinov2-vit-s14/6", "swin-t/3",
                                         "swin-t-coco/3", "vgg16-antialiased/16", "unet-faces/4", "resnet18-normals/8"),
                         [](const auto& info) { return letters_of(info.param); });

TEST(FeatureNetworks, ThePyramidIsWhatStagesOfPyTorchsMake) {
  const NoGrad inference;
  for (const std::string name : {"efficientnet-lite1", "mobilenetv2"}) {
    const auto net = formula_network(name + "/1", {.type = DType::f64});
    const std::vector<Tensor> maps = net->pyramid(net->normalise(formula_images("images", 2, net->size(), DType::f64)));
    ASSERT_EQ(maps.size(), 4u);
    for (size_t i = 0; i < maps.size(); ++i)
      EXPECT_LT(difference(every(every(every(slice(maps[i], 0, 0, 1), 1, 0, 3), 2, 0, 4), 3, 0, 9),
                           fmt::format("{}.pyramid.{}", name, i)),
                1e-9)
          << name;
  }
}

TEST(FeatureNetworks, TheLevelOfAConvolutionalNetworkIsWhatItEndsIn) {
  const NoGrad inference;
  const auto expect_shape = [](const char* key, int size, Shape map) {
    const auto net = formula_network(key);
    const auto [maps, pooled] = net->levels(formula_images("levels", 1, size, DType::f32, 1, 0));
    ASSERT_EQ(maps.size(), 1u) << key;
    EXPECT_EQ(maps[0].shape(), map) << key;
    EXPECT_EQ(pooled.to_floats(), mean_axes(reshape(maps[0], {1, map[1] * map[2], map[3]}), {1}).to_floats()) << key;
  };
  expect_shape("inception/16", 299, {1, 8, 8, 2048 / 16});
  expect_shape("vgg16/16", 224, {1, 7, 7, 512 / 16});
  expect_shape("vgg16-antialiased/16", 224, {1, 7, 7, 512 / 16});
  expect_shape("unet-faces/4", 256, {1, 8, 8, 256 / 4});
  expect_shape("resnet18-normals/8", 256, {1, 8, 8, 512 / 8});
  expect_shape("squeezenet/8", 224, {1, 13, 13, 512 / 8});
  expect_shape("mobilenetv2/8", 224, {1, 7, 7, 1280 / 8});
  expect_shape("efficientnet-lite1/8", 240, {1, 8, 8, 1280 / 8});
}

TEST(FeatureNetworks, ImagesThatAreTooSmallToBeHalvedAreRefused) {
  const NoGrad inference;
  const auto net = formula_network("vgg16-antialiased/16");
  EXPECT_EQ(net->levels(formula_images("levels", 1, 64, DType::f32)).maps[0].shape(), (Shape{1, 2, 2, 32}));
  EXPECT_MENTIONS(message_of<ConfigError>([&] { net->levels(formula_images("levels", 1, 48, DType::f32)); }),
                  "at least 64 rows and columns");
}

TEST(FeatureNetworks, InceptionMayNormaliseByTheBatch) {
  expect_near("inception by batch/16", {.type = DType::f64, .batch_statistics = true}, 1e-9, 3);
  expect_near("inception by batch/16", {.type = DType::f32, .batch_statistics = true}, 1e-4, 3);
}

TEST(FeatureNetworks, PerceptualDistancesAreThoseOfLpips) {
  const NoGrad inference;
  for (const std::string name : {"vgg16/16", "squeezenet/8"})
    for (const DType type : {DType::f64, DType::f32}) {
      const std::string key = "lpips " + name;
      SafetensorsFile file = formula_weights(name, type);
      const auto net = feature_model(name.substr(0, name.find('/'))).make(file, {.type = type}, Device::cpu());
      const Lpips lpips(*net, formula_weights(key));
      const Tensor a = formula_images("a", 2, 50, type, 1, 0), b = formula_images("b", 2, 50, type, 1, 0);
      EXPECT_LT(difference(lpips(a, b), key + ".distance"), type == DType::f64 ? 1e-7 : 1e-4);  // heads are f32
      for (const double zero : lpips(a, a).to_doubles()) EXPECT_EQ(zero, 0);
    }
}

TEST(FeatureNetworks, HeadsOfAnotherNetworkAreRefused) {
  const auto vgg = formula_network("vgg16/16"), squeezenet = formula_network("squeezenet/8"),
             mobilenet = formula_network("mobilenetv2/8");
  const SafetensorsFile heads = formula_weights("lpips squeezenet/8");
  EXPECT_MENTIONS(message_of([&] { Lpips(*vgg, heads); }), "LPIPS on another network");
  EXPECT_MENTIONS(message_of([&] { Lpips(*squeezenet, formula_weights("lpips vgg16/16")); }),
                  "LPIPS on another network");
  EXPECT_MENTIONS(message_of<ConfigError>([&] { Lpips(*mobilenet, heads); }), "vgg16 and squeezenet");
}

TEST(FeatureNetworks, AnImageReceivesAGradient) {
  for (const char* key : {"inception/16", "squeezenet/8", "efficientnet-lite1/8"}) {
    const auto net = formula_network(key);
    const Tensor x = formula_images("images", 1, 99, DType::f32).require_grad();
    const Tensor g = grad(sum((*net)(x).features), {x})[0];
    double size = 0;
    for (const double v : g.to_doubles()) size += std::abs(v);
    EXPECT_TRUE(std::isfinite(size) && size > 0) << key;
  }
}

TEST(FeatureNetworks, ItDoesNotMatterHowManyImagesAreFedAtOnce) {
  const NoGrad inference;
  for (const char* key : {"inception/16", "squeezenet/1", "clip-vit-b32/6", "swin-t/3"}) {
    const auto net = formula_network(key);
    const Tensor x = formula_images("images", 3, net->size(), DType::f32);
    const auto together = features_of(*net, x);
    for (int64_t i = 0; i < 3; ++i) {
      const auto alone = features_of(*net, slice(x, 0, i, i + 1));
      EXPECT_EQ(alone.features.to_floats(), slice(together.features, 0, i, i + 1).to_floats()) << key;
      if (!alone.logits.defined()) continue;
      EXPECT_EQ(alone.logits.to_floats(), slice(together.logits, 0, i, i + 1).to_floats()) << key;
    }
  }
}

SafetensorsFile published(const std::string& name, const std::string& tensor, std::vector<int64_t> shape) {
  SafetensorsFile file;
  file.tensors[name] = formula_weight(name, {1}, false);
  file.tensors[tensor] = formula_weight(tensor, shape, false);
  return file;
}

TEST(FeatureWeights, WhatTheyAreOfIsKnownByTheirTensors) {
  Scratch dir;
  SafetensorsFile file = published("fc.bias", "features.18.0.weight", {1280, 320, 1, 1});
  write_safetensors(dir / "some.safetensors", file);
  const FeatureWeights w = feature_weights(dir / "some.safetensors");
  EXPECT_EQ(w.model->name, "mobilenetv2");
  EXPECT_EQ(w.sha256.size(), 64u);
  EXPECT_MENTIONS(message_of([&] { load_features(w, {}, Device::cpu()); }),
                  "there is no tensor \"features.0.0.weight\"");

  write_safetensors(dir / "mobilenet_v2-b0353104.safetensors", file);
  EXPECT_NO_THROW(feature_weights(dir / "mobilenet_v2-b0353104.safetensors"));  // another form has another hash
  file.tensors["fc.bias"] = StoredTensor::of(std::vector<float>{NAN}, {1});
  write_safetensors(dir / "nan.safetensors", file);
  EXPECT_MENTIONS(message_of([&] { feature_weights(dir / "nan.safetensors"); }), "not finite");
  write_safetensors(dir / "other.safetensors", published("a", "b", {2, 2}));
  EXPECT_MENTIONS(message_of([&] { feature_weights(dir / "other.safetensors"); }),
                  "holds none of the feature networks that are known: inception, vgg16");
  EXPECT_MENTIONS(message_of([&] { feature_weights(dir / "gone.safetensors"); }), "cannot read");
}

TEST(FeatureWeights, NetworksAreToldApart) {
  const auto named = [](const std::string& name, auto change) {
    SafetensorsFile file = formula_shapes(name + "/1");
    change(file);
    std::string found;
    for (const FeatureModel& m : feature_models())
      if (m.recognise(file)) found += m.name;
    return found;
  };
  const auto as_it_is = [](SafetensorsFile&) {};
  const auto without_prefix = [](SafetensorsFile& file) {
    file.tensors["conv1.weight"] = std::move(file.tensors["visual.conv1.weight"]);
    file.tensors.erase("visual.conv1.weight");
  };
  const auto classifying = [](SafetensorsFile& file) { file.tensors["head.weight"].shape = {1000, 768}; };
  for (const FeatureModel& m : feature_models()) EXPECT_EQ(named(m.name, as_it_is), m.name);
  EXPECT_EQ(named("clip-vit-b32", without_prefix), "clip-vit-b32");
  EXPECT_EQ(named("dino-vit-b16", classifying), "");
  const auto within = [](const std::string& prefix) {
    return [prefix](SafetensorsFile& file) {
      std::map<std::string, StoredTensor> all;
      for (auto& [name, tensor] : file.tensors) all[prefix + name] = std::move(tensor);
      file.tensors = std::move(all);
    };
  };
  for (const std::string name : {"vgg16-antialiased", "swin-t-coco", "swin-t-ade"})
    EXPECT_EQ(named(name, within("state_dict.")), name);
  EXPECT_EQ(named("swin-t", within("model.encoder.")), "swin-t");  // MoBY's
  const auto without_head = [](SafetensorsFile& file) {
    std::erase_if(file.tensors, [](const auto& t) { return !t.first.starts_with("backbone."); });
  };
  EXPECT_EQ(named("swin-t-coco", without_head), "");
}

TEST(FeatureWeights, ATransformerThatLacksSomethingIsRefused) {
  const auto refused = [](const std::string& key, auto change) {
    SafetensorsFile file = formula_weights(key);
    change(file);
    return message_of([&] { feature_model(key.substr(0, key.find('/'))).make(file, {}, Device::cpu()); });
  };
  EXPECT_MENTIONS(refused("clip-vit-b32/6", [](SafetensorsFile& f) { f.tensors.erase("visual.proj"); }),
                  "there is no tensor \"visual.proj\"");
  EXPECT_MENTIONS(refused("dino-vit-b16/6", [](SafetensorsFile& f) { f.tensors.erase("blocks.4.norm1.weight"); }),
                  "has 4 blocks of 128 channels");
  EXPECT_MENTIONS(refused("dino-vit-b16/6",
                          [](SafetensorsFile& f) {
                            f.tensors["pos_embed"] = formula_weight("p", {1, 12, 128}, false);
                          }),
                  "has places for 12 tokens");
  EXPECT_MENTIONS(refused("dinov2-vit-s14/6",
                          [](SafetensorsFile& f) {
                            f.tensors["cls_token"] = formula_weight("c", {1, 65}, false);
                          }),
                  "expected 1 x 64 numbers");
  EXPECT_MENTIONS(refused("dino-vit-b16/6",
                          [](SafetensorsFile& f) {
                            f.tensors["blocks.1.attn.qkv.weight"] = formula_weight("q", {512, 128}, false);
                          }),
                  "blocks.1.attn.qkv.weight is [512,128], expected 384 rows");
}

TEST(FeatureWeights, APublishedFileHasTheHashInItsName) {
  Scratch dir;
  std::filesystem::copy(std::filesystem::path(FIRN_TEST_DATA) / "golden" / "weights.pth", dir / "x-01234567.pth");
  EXPECT_MENTIONS(message_of([&] { feature_weights(dir / "x-01234567.pth"); }), "its SHA-256 begins with");
}

TEST(FeatureWeights, ThoseThatAreMissingAreNamed) {
  Scratch dir;
  const std::string missing = message_of([&] { find_feature_weights("inception", dir.path()); });
  EXPECT_MENTIONS(missing, "pt_inception-2015-12-05-6726825d.pth");
  EXPECT_MENTIONS(missing, "--features");
  for (const FeatureModel& m : feature_models()) {
    const std::string message = message_of([&] { find_feature_weights(m.name, dir.path()); });
    EXPECT_MENTIONS(message, m.published);
    if (!m.files.empty()) {
      EXPECT_MENTIONS(message, m.files[0]);
    }
  }
  EXPECT_MENTIONS(message_of([&] { find_feature_weights("vgg16", dir / "no"); }), "there is no folder");
  EXPECT_MENTIONS(message_of<ConfigError>([&] { feature_model("resnet"); }), "there are inception, vgg16");
  SafetensorsFile file = published("fc.bias", "features.18.0.weight", {1280, 320, 1, 1});
  write_safetensors(dir / "mobilenetv2.safetensors", file);
  write_safetensors(dir / "inception.safetensors", file);
  EXPECT_EQ(find_feature_weights("mobilenetv2", dir.path()).path, dir / "mobilenetv2.safetensors");
  EXPECT_MENTIONS(message_of([&] { find_feature_weights("inception", dir.path()); }),
                  "holds mobilenetv2, not inception");
}

}  // namespace
}  // namespace firn
