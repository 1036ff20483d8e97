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

  Output operator()(const Tensor& images) const override {
    return {mean_of_pixels(maps(normalise(images)).back()), {}};
  }

  // Half as large as the centre is, as the published judges take it.
  Levels levels(const Tensor& images) const override { return one_level(average_pool(maps(images).back())); }

  std::vector<Tensor> pyramid(const Tensor& images) const override {
    const std::vector<Tensor> all = maps(images);
    return {all.end() - 4, all.end()};
  }

 private:
  // What each stage makes on the way down.
  std::vector<Tensor> maps(const Tensor& images) const {
    std::vector<Tensor> all;
    for (size_t i = 0; i < layers_.size(); i += 2) {
      const Tensor x = i == 0 ? as_type(images, options_.type) : max_pool(all.back(), {.size = 2, .stride = 2});
      all.push_back(layers_[i + 1](layers_[i](x)));
    }
    return all;
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
