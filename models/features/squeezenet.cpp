// SqueezeNet 1.1 (Iandola et al. 2016, arXiv 1602.07360), as torchvision names it.
#include <algorithm>

#include "base/error.h"
#include "models/features/layers.h"
#include "models/features/networks.h"

namespace firn {
namespace {

constexpr int kFires[]{3, 4, 6, 7, 9, 10, 11, 12};  // numbers in the file; what lies between them is a pool
constexpr int kCompared[]{4, 7, 9, 10, 11, 12};     // behind which LPIPS compares, besides the first convolution

struct Fire {
  int number;
  FeatureLayer squeeze, expand1, expand3;
};

bool is_compared(const Fire& f) { return std::ranges::find(kCompared, f.number) != std::end(kCompared); }

class SqueezeNet final : public FeatureNetwork {
 public:
  SqueezeNet(const SafetensorsFile& file, const FeatureOptions& options, const Device& device)
      : FeatureNetwork(options, device) {
    const LayerReader read(parameters_, file, options, device);
    front_ = read({.name = "features.0", .in = 3, .window = 3, .stride = 2, .pad = 0});
    int64_t channels = front_.out();
    for (const int number : kFires) {
      const std::string name = fmt::format("features.{}.", number);
      Fire f{.number = number, .squeeze = read({.name = name + "squeeze", .in = channels})};
      f.expand1 = read({.name = name + "expand1x1", .in = f.squeeze.out()});
      f.expand3 = read({.name = name + "expand3x3", .in = f.squeeze.out(), .window = 3});
      channels = f.expand1.out() + f.expand3.out();
      fires_.push_back(std::move(f));
    }
    classifier_ = read({.name = "classifier.1", .in = channels});
  }

  int size() const override { return 224; }
  int features() const override { return int(classifier_.in()); }

  Output operator()(const Tensor& images) const override {
    const Tensor x = stages(normalise(images)).back();
    return {mean_of_pixels(x), mean_of_pixels(classifier_(x))};
  }

  Levels levels(const Tensor& images) const override { return one_level(stages(images).back()); }

  std::vector<Tensor> stages(const Tensor& images) const override {
    Tensor x = front_(as_type(images, options_.type));
    std::vector<Tensor> all{x};
    int before = 1;
    for (const Fire& f : fires_) {
      if (f.number > std::exchange(before, f.number) + 1) x = max_pool(x, {.stride = 2, .ceil = true});
      const Tensor h = f.squeeze(x);
      x = concat({f.expand1(h), f.expand3(h)}, 3);
      if (is_compared(f)) all.push_back(x);
    }
    return all;
  }

  std::vector<Tensor> pyramid(const Tensor& images) const override {
    const std::vector<Tensor> all = stages(images);
    return {all[0], all[1], all[2], all.back()};
  }

  std::vector<int> stage_channels() const override {
    std::vector<int> all{int(front_.out())};
    for (const Fire& f : fires_)
      if (is_compared(f)) all.push_back(int(f.expand1.out() + f.expand3.out()));
    return all;
  }

 private:
  FeatureLayer front_, classifier_;
  std::vector<Fire> fires_;
};

}  // namespace

FeatureModel squeezenet_model() {
  return {.name = "squeezenet",
          .published = "squeezenet1_1-b8a52dc0.pth of torchvision, whose SHA-256 begins with b8a52dc0",
          .files = {"squeezenet1_1-b8a52dc0.pth", "squeezenet1_1.safetensors"},
          .recognise =
              [](const SafetensorsFile& file) {
                return shape_in(file, "features.12.expand3x3.weight") == std::vector<int64_t>{256, 64, 3, 3} &&
                       shape_in(file, "features.0.weight") == std::vector<int64_t>{64, 3, 3, 3};
              },
          .make = make_features<SqueezeNet>};
}

}  // namespace firn
