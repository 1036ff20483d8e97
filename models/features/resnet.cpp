// The encoder of images of the network that finds the normals of faces (Abrevaya et al. 2020, arXiv 2003.09691): a
// ResNet18 (He et al. 2015, arXiv 1512.03385), named as there.
#include <utility>

#include "base/error.h"
#include "models/features/layers.h"
#include "models/features/networks.h"

namespace firn {
namespace {

constexpr int kStages = 4, kBlocks = 2;

struct Residual {
  FeatureLayer first, second, shortcut;  // without shortcut.w: x as it is

  Tensor operator()(const Tensor& x) const { return relu(second(first(x)) + (shortcut.w.defined() ? shortcut(x) : x)); }
};

class FaceResNet final : public FeatureNetwork {
 public:
  FaceResNet(const SafetensorsFile& file, const FeatureOptions& options, const Device& device)
      : FeatureNetwork(options, device) {
    const LayerReader read(parameters_, file, options, device);
    front_ = read({.name = "layer0.0", .norm = "layer0.1", .in = 3, .window = 7, .stride = 2});
    int64_t channels = front_.out();
    for (int stage = 1; stage <= kStages; ++stage)
      for (int i = 0; i < kBlocks; ++i) {
        const std::string at = fmt::format("layer{}.{}{}.", stage, stage == 1 ? "1." : "", i);  // behind a pool
        const auto layer = [&](const char* conv, const char* norm, int64_t in, int window, int stride, BiasAct act) {
          return read({.name = at + conv, .norm = at + norm, .in = in, .window = window, .stride = stride, .act = act});
        };
        const int stride = stage > 1 && i == 0 ? 2 : 1;
        Residual& r = blocks_.emplace_back();
        r.first = layer("conv1", "bn1", channels, 3, stride, relu());
        r.second = layer("conv2", "bn2", r.first.out(), 3, 1, linear());
        if (read.has(at + "downsample.0.weight"))
          r.shortcut = layer("downsample.0", "downsample.1", channels, 1, stride, linear());
        channels = r.second.out();
      }
  }

  int size() const override { return 256; }
  int features() const override { return int(blocks_.back().second.out()); }

  Tensor normalise(const Tensor& images) const override { return normalised(images, {{0, 0, 0}, {1, 1, 1}}); }

  Output operator()(const Tensor& images) const override { return {levels(normalise(images)).pooled, {}}; }

  Levels levels(const Tensor& images) const override { return one_level(pyramid(images).back()); }

  // What each stage makes.
  std::vector<Tensor> pyramid(const Tensor& images) const override {
    std::vector<Tensor> maps;
    Tensor x = max_pool(front_(as_type(images, options_.type)), {.size = 3, .stride = 2, .pad = 1});
    for (size_t i = 0; i < blocks_.size(); ++i) {
      x = blocks_[i](std::exchange(x, {}));
      if (i % kBlocks == kBlocks - 1) maps.push_back(x);
    }
    return maps;
  }

 private:
  FeatureLayer front_;
  std::vector<Residual> blocks_;
};

}  // namespace

FeatureModel resnet18_normals_model() {
  return {.name = "resnet18-normals",
          .judge_size = 256,
          .published = "the model.pth of boukhayma/face_normals, as normal_model.pth",
          .files = {"normal_model.pth"},
          .recognise =
              [](const SafetensorsFile& file) {
                return shape_in(file, "layer0.0.weight") == std::vector<int64_t>{64, 3, 7, 7} &&
                       shape_in(file, "layer1.1.1.conv2.weight") == std::vector<int64_t>{64, 64, 3, 3} &&
                       shape_in(file, "layer4.1.conv2.weight") == std::vector<int64_t>{512, 512, 3, 3};
              },
          .make = make_features<FaceResNet>};
}

}  // namespace firn
