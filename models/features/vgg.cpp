// VGG16 (Simonyan & Zisserman 2014, arXiv 1409.1556), as torchvision names it. Its features are what the second fully
// connected layer gives. And the one whose pools blur before they leave pixels out (Zhang 2019, arXiv 1904.11486), of
// which only the mean over the image is taken.
#include "base/error.h"
#include "models/features/layers.h"
#include "models/features/networks.h"

namespace firn {
namespace {

constexpr int kConvolutions[]{2, 2, 3, 3, 3};  // of each stage, behind which the image is halved
using Stages = std::vector<std::vector<FeatureLayer>>;

// A ReLU has a number, too, and behind each stage stands what halves the image, of so many.
Stages read_stages(const LayerReader& read, int numbers_between, const std::string& prefix = "") {
  Stages stages;
  int64_t channels = 3;
  int number = 0;
  for (const int count : kConvolutions) {
    auto& stage = stages.emplace_back();
    for (int i = 0; i < count; ++i, number += 2) {
      stage.push_back(read({.name = fmt::format("{}features.{}", prefix, number), .in = channels, .window = 3}));
      channels = stage.back().out();
    }
    number += numbers_between;
  }
  return stages;
}

class Vgg16 final : public FeatureNetwork {
 public:
  Vgg16(const SafetensorsFile& file, const FeatureOptions& options, const Device& device)
      : FeatureNetwork(options, device) {
    const LayerReader read(parameters_, file, options, device);
    stages_ = read_stages(read, 1);
    // The first takes all pixels, by channels: it is a convolution whose window is the image.
    fc1_ = read({.name = "classifier.0", .in = stages_.back().back().out(), .window = 7, .pad = 0});
    fc2_ = read({.name = "classifier.3", .in = fc1_.out()});
    fc3_ = read({.name = "classifier.6", .in = fc2_.out(), .act = linear()});
  }

  int size() const override { return 224; }
  int features() const override { return int(fc2_.out()); }

  Output operator()(const Tensor& images) const override {
    require_size(images);
    const Tensor x = map(normalise(images));
    const Tensor h = fully_connected(fully_connected(reshape(x, {x.dim(0), -1}), fc1_), fc2_);
    return {widened(h), widened(fully_connected(h, fc3_))};
  }

  Levels levels(const Tensor& images) const override { return one_level(map(images)); }

  std::vector<Tensor> stages(const Tensor& images) const override {
    std::vector<Tensor> all;
    for (const auto& stage : stages_) {
      Tensor x = all.empty() ? as_type(images, options_.type) : max_pool(all.back(), {.size = 2, .stride = 2});
      for (const FeatureLayer& layer : stage) x = layer(std::exchange(x, {}));
      all.push_back(x);
    }
    return all;
  }

  std::vector<Tensor> pyramid(const Tensor& images) const override {
    const std::vector<Tensor> all = stages(images);
    return {all.begin() + 1, all.end()};
  }

  std::vector<Tensor> activations(const Tensor& images) const override {
    constexpr size_t compared = 9;
    std::vector<Tensor> all;
    Tensor x = as_type(images, options_.type);
    for (const auto& stage : stages_) {
      for (const FeatureLayer& layer : stage) {
        all.push_back(x = layer(x));
        if (all.size() == compared) return all;
      }
      x = max_pool(x, {.size = 2, .stride = 2});
    }
    return all;
  }

  std::vector<int> stage_channels() const override {
    std::vector<int> all;
    for (const auto& stage : stages_) all.push_back(int(stage.back().out()));
    return all;
  }

 private:
  Tensor map(const Tensor& images) const { return max_pool(stages(images).back(), {.size = 2, .stride = 2}); }

  Stages stages_;
  FeatureLayer fc1_, fc2_, fc3_;
};

// The maximum of 2x2 around each corner of pixels, and every other pixel of its blur, the image being reflected: one
// pixel before it and two behind.
Tensor halved(const Tensor& x) {
  if (x.dim(1) < 4 || x.dim(2) < 4) throw ConfigError("vgg16-antialiased needs images of at least 64 rows and columns");
  Tensor y = max_pool(x, {.size = 2});
  for (const int axis : {1, 2}) {
    const int64_t n = y.dim(axis);
    const auto at = [&](int64_t i) { return slice(y, axis, i, i + 1); };
    y = concat({at(1), y, at(n - 2), at(n - 3)}, axis);
  }
  return upfirdn2d(y, {.down = 2});
}

class AntialiasedVgg16 final : public FeatureNetwork {
 public:
  AntialiasedVgg16(const SafetensorsFile& file, const FeatureOptions& options, const Device& device)
      : FeatureNetwork(options, device),
        stages_(read_stages(LayerReader(parameters_, file, options, device), 2, within(file))) {}

  static std::string within(const SafetensorsFile& file) {
    return prefix_of(file, "features.32.weight", {"state_dict."});
  }

  int size() const override { return 224; }
  int features() const override { return int(stages_.back().back().out()); }

  Output operator()(const Tensor& images) const override { return {levels(normalise(images)).pooled, {}}; }

  Levels levels(const Tensor& images) const override { return one_level(halved(maps(images).back())); }
  std::vector<Tensor> pyramid(const Tensor& images) const override {
    const std::vector<Tensor> all = maps(images);
    return {all.begin() + 1, all.end()};
  }

 private:
  std::vector<Tensor> maps(const Tensor& images) const {
    std::vector<Tensor> all;
    for (const auto& stage : stages_) {
      Tensor x = all.empty() ? as_type(images, options_.type) : halved(all.back());
      for (const FeatureLayer& layer : stage) x = layer(std::exchange(x, {}));
      all.push_back(x);
    }
    return all;
  }

  Stages stages_;
};

}  // namespace

FeatureModel vgg16_model() {
  return {.name = "vgg16",
          .published = "vgg16-397923af.pth of torchvision, whose SHA-256 begins with 397923af",
          .files = {"vgg16-397923af.pth"},
          .recognise =
              [](const SafetensorsFile& file) {
                return shape_in(file, "features.28.weight") == std::vector<int64_t>{512, 512, 3, 3} &&
                       shape_in(file, "classifier.3.weight") == std::vector<int64_t>{4096, 4096} &&
                       !file.contains("features.32.weight");
              },
          .make = make_features<Vgg16>};
}

FeatureModel vgg16_antialiased_model() {
  return {.name = "vgg16-antialiased",
          .published = "vgg16_lpf4-de9267ac.pth of adobe/antialiased-cnns, whose SHA-256 begins with de9267ac",
          .files = {"vgg16_lpf4-de9267ac.pth"},
          .recognise =
              [](const SafetensorsFile& file) {
                const std::string prefix = AntialiasedVgg16::within(file);
                return shape_in(file, prefix + "features.32.weight") == std::vector<int64_t>{512, 512, 3, 3} &&
                       shape_in(file, prefix + "features.35.filt") == std::vector<int64_t>{512, 1, 4, 4};
              },
          .make = make_features<AntialiasedVgg16>};
}

}  // namespace firn
