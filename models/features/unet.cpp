// The contracting half of the U-Net (Ronneberger et al. 2015, arXiv 1505.04597) that parses faces, trained on
// CelebAMask-HQ (Lee et al. 2020, arXiv 1907.11922) and named as there. Its features are what the centre gives.
#include <utility>

#include "models/features/layers.h"
#include "models/features/networks.h"

namespace firn {
namespace {

constexpr auto kStages = {"conv1", "conv2", "conv3", "conv4", "center"};  // a pool before each but the first

class FaceUnet final : public FeatureNetwork {
 public:
  FaceUnet(const SafetensorsFile& file, const FeatureOptions& options, const Device& device)
      : FeatureNetwork(options, device) {
    const LayerReader read(parameters_, file, options, device);
    int64_t channels = 3;
    for (const std::string stage : kStages)
      for (const char* conv : {".conv1.", ".conv2."}) {
        const std::string at = stage + conv;
        layers_.push_back(read({.name = at + "0", .norm = at + "1", .in = channels, .window = 3}));
        channels = layers_.back().out();
      }
  }

  int size() const override { return 256; }
  int features() const override { return int(layers_.back().out()); }

  Tensor normalise(const Tensor& images) const override {
    return normalised(images, {{0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}});
  }

  Output operator()(const Tensor& images) const override { return {mean_of_pixels(centre(normalise(images))), {}}; }

  // Half as large as the centre is, as the published judges take it.
  Levels levels(const Tensor& images) const override { return one_level(average_pool(centre(images))); }

 private:
  Tensor centre(const Tensor& images) const {
    Tensor x = as_type(images, options_.type);
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (i && i % 2 == 0) x = max_pool(std::exchange(x, {}), {.size = 2, .stride = 2});
      x = layers_[i](std::exchange(x, {}));
    }
    return x;
  }

  std::vector<FeatureLayer> layers_;
};

}  // namespace

FeatureModel unet_faces_model() {
  return {.name = "unet-faces",
          .judge_size = 256,
          .published = "the model.pth of CelebAMask-HQ's face parser, as celeba_parsing_model.pth",
          .files = {"celeba_parsing_model.pth"},
          .recognise =
              [](const SafetensorsFile& file) {
                return shape_in(file, "conv1.conv1.0.weight") == std::vector<int64_t>{16, 3, 3, 3} &&
                       shape_in(file, "center.conv2.0.weight") == std::vector<int64_t>{256, 256, 3, 3};
              },
          .make = make_features<FaceUnet>};
}

}  // namespace firn
