// VGG16 (Simonyan & Zisserman 2014, arXiv 1409.1556), as torchvision names it. Its features are what the second fully
// connected layer gives.
#include "base/error.h"
#include "models/features/layers.h"
#include "models/features/networks.h"

namespace firn {
namespace {

constexpr int kConvolutions[]{2, 2, 3, 3, 3};  // of each stage, behind which the image is halved

class Vgg16 final : public FeatureNetwork {
 public:
  Vgg16(const SafetensorsFile& file, const FeatureOptions& options, const Device& device)
      : FeatureNetwork(options, device) {
    const LayerReader read(parameters_, file, options, device);
    int64_t channels = 3;
    int number = 0;
    for (const int count : kConvolutions) {
      auto& stage = stages_.emplace_back();
      for (int i = 0; i < count; ++i, number += 2) {  // a ReLU has a number, too
        stage.push_back(read({.name = fmt::format("features.{}", number), .in = channels, .window = 3}));
        channels = stage.back().out();
      }
      ++number;
    }
    // The first takes all pixels, by channels: it is a convolution whose window is the image.
    fc1_ = read({.name = "classifier.0", .in = channels, .window = 7, .pad = 0});
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

  std::vector<std::vector<FeatureLayer>> stages_;
  FeatureLayer fc1_, fc2_, fc3_;
};

}  // namespace

FeatureModel vgg16_model() {
  return {.name = "vgg16",
          .published = "vgg16-397923af.pth of torchvision, whose SHA-256 begins with 397923af",
          .files = {"vgg16-397923af.pth"},
          .recognise =
              [](const SafetensorsFile& file) {
                return shape_in(file, "features.28.weight") == std::vector<int64_t>{512, 512, 3, 3} &&
                       shape_in(file, "classifier.3.weight") == std::vector<int64_t>{4096, 4096};
              },
          .make = make_features<Vgg16>};
}

}  // namespace firn
