// A discriminator on maps of a frozen network (Sauer et al. 2021, arXiv 2111.01007): random convolutions, which never
// train, mix channels and scales; behind each of four scales a small network judges every place.
#pragma once
#include <array>
#include <optional>

#include "models/features/features.h"
#include "models/spec.h"

namespace firn {

class ProjectedDiscriminator : public Discriminator {
 public:
  struct Options {
    ImageShape images;
    int size = 224;           // of images as the network sees them
    int width = 64;           // channels of the largest map; all others are in proportion
    int classes = 0;          // 0: none
    DType type = DType::f32;  // of what trains
  };
  // ConfigError for a network without a pyramid, or maps that are too small.
  ProjectedDiscriminator(std::shared_ptr<const FeatureNetwork> network, const Options& options, uint64_t seed);

  // images [N,H,W,C] in [-1,1], labels [N] i32 where there are classes -> [N,places of all scales]. Normalises by the
  // batch, each segment of it by itself, in every mode.
  Tensor operator()(const Tensor& images, const Tensor& labels = {}, int segments = 1,
                    Mode mode = Mode::train) const override;

  // Everything up to what the four judge is frozen, so that it can be kept of images that do not change.
  int frozen_blocks() const override { return 1; }
  Tensor features(const Tensor& images) const override;
  Tensor logits(const Tensor& features, const Tensor& labels = {}, int segments = 1,
                Mode mode = Mode::train) const override;
  Shape features_shape(int64_t n) const override;
  DType features_type() const override { return options_.type; }
  std::vector<Layer> layers() const override { return layers_; }

 private:
  struct Conv {
    Parameter w, u;
    size_t number = 0;  // of the spectral norms
  };
  struct Down {
    Conv conv;
    Parameter gamma, beta;
  };
  struct Judge {
    Shape map;  // [h,w,C] of what it judges
    std::vector<Down> down;
    Conv out;
    std::optional<Parameter> embedding;  // [classes,128], which becomes weights of out's channels
    Parameter w, b;
  };
  using Maps = std::vector<Tensor>;
  Maps mix(const Tensor& images) const;
  Tensor judge(const Maps& maps, const Tensor& labels, int segments, Mode mode) const;
  Tensor judge(const Judge& by, Tensor x, const Tensor& labels, const std::vector<Spectral>& sigmas) const;

  std::shared_ptr<const FeatureNetwork> network_;
  Options options_;
  std::array<Parameter, 4> channels_, scales_;  // 1x1 convolutions: of each map, and of it and what lies below it
  std::vector<Judge> judges_;
  std::vector<Layer> layers_;
};

}  // namespace firn
