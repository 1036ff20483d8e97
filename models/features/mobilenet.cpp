// MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381), as torchvision names it, and with batch norm folded already.
#include <utility>

#include "base/error.h"
#include "models/features/layers.h"
#include "models/features/networks.h"

namespace firn {
namespace {

struct Stage {
  int blocks, stride;
};
constexpr Stage kStages[]{{1, 1}, {2, 2}, {3, 2}, {4, 2}, {3, 1}, {3, 2}, {1, 1}};

class MobileNetV2 final : public FeatureNetwork {
 public:
  MobileNetV2(const SafetensorsFile& file, const FeatureOptions& options, const Device& device)
      : FeatureNetwork(options, device) {
    const LayerReader read(parameters_, file, options, device);
    const bool folded = read.has("features.18.weight");
    const auto name = [&](const std::string& folded_name, const std::string& name, const std::string& norm) {
      return folded ? LayerPlan{.name = folded_name, .in = 0} : LayerPlan{.name = name, .norm = norm, .in = 0};
    };
    const auto layer = [&](LayerPlan plan, int64_t in, int window, int stride, BiasAct act, bool depthwise = false) {
      plan.in = in, plan.window = window, plan.stride = stride, plan.act = act, plan.depthwise = depthwise;
      return read(plan);
    };
    front_ = layer(name("features.0", "features.0.0", "features.0.1"), 3, 3, 2, relu6());
    int64_t channels = front_.out();
    int number = 1;
    for (const Stage& stage : kStages)
      for (int i = 0; i < stage.blocks; ++i, ++number) {
        const std::string at = fmt::format("features.{}.", number), conv = at + "conv.";
        const int first = number > 1;  // place of the depthwise convolution
        InvertedResidual b{.adds = i > 0};
        if (first) b.expand = layer(name(at + "expand", conv + "0.0", conv + "0.1"), channels, 1, 1, relu6());
        const int64_t hidden = first ? b.expand.out() : channels;
        b.depthwise =
            layer(name(at + "depthwise", fmt::format("{}{}.0", conv, first), fmt::format("{}{}.1", conv, first)),
                  hidden, 3, i ? 1 : stage.stride, relu6(), true);
        b.project =
            layer(name(at + "project", fmt::format("{}{}", conv, first + 1), fmt::format("{}{}", conv, first + 2)),
                  hidden, 1, 1, linear());
        channels = b.project.out();
        blocks_.push_back(std::move(b));
      }
    back_ = layer(name("features.18", "features.18.0", "features.18.1"), channels, 1, 1, relu6());
    if (read.has("classifier.1.weight"))
      classifier_ = read({.name = "classifier.1", .in = back_.out(), .act = linear()});
  }

  int size() const override { return 224; }
  int features() const override { return int(back_.out()); }

  Output operator()(const Tensor& images) const override {
    Output out{mean_of_pixels(map(normalise(images))), {}};
    if (classifier_.w.defined()) out.logits = fully_connected(out.features, classifier_);
    return out;
  }

  Levels levels(const Tensor& images) const override { return one_level(map(images)); }
  std::vector<Tensor> pyramid(const Tensor& images) const override { return blocks_behind(images, {2, 5, 12, 16}); }

 private:
  Tensor map(const Tensor& images) const { return back_(blocks_behind(images, {int(blocks_.size()) - 1})[0]); }
  std::vector<Tensor> blocks_behind(const Tensor& images, const std::vector<int>& numbers) const {
    return maps_behind(blocks_, front_(as_type(images, options_.type)), numbers);
  }

  FeatureLayer front_, back_, classifier_;
  std::vector<InvertedResidual> blocks_;
};

}  // namespace

FeatureModel mobilenet_v2_model() {
  return {.name = "mobilenetv2",
          .published = "mobilenet_v2-b0353104.pth of torchvision, whose SHA-256 begins with b0353104",
          .files = {"mobilenet_v2-b0353104.pth", "mobilenet_v2_features.safetensors"},
          .recognise =
              [](const SafetensorsFile& file) {
                const std::vector<int64_t> last{1280, 320, 1, 1};
                return shape_in(file, "features.18.weight") == last || shape_in(file, "features.18.0.weight") == last;
              },
          .make = make_features<MobileNetV2>};
}

}  // namespace firn
