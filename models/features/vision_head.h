// What judges images by the activations of a frozen network (Kumari et al. 2022, arXiv 2112.09130, as its code has it):
// for a network with one map a blurred convolution and two fully connected layers; for one with several a convolution
// and a map of logits of each, and two fully connected layers for what is pooled.
#pragma once
#include <optional>

#include "models/features/features.h"
#include "models/spec.h"

namespace firn {

enum class HeadKind {
  spectral,   // spectral normalisation, as the published package for any GAN
  equalised,  // equalised learning rates, as published for StyleGAN2
};

class VisionHead : public Network {
 public:
  // For levels like these. classes: 0 for none.
  VisionHead(const FeatureNetwork::Levels& like, HeadKind kind, int classes, uint64_t seed, DType type,
             const Device& device);
  // labels [N] i32 where there are classes -> [N,h,w,1] of each of several maps, and last [N,1,1,1].
  std::vector<Tensor> operator()(const FeatureNetwork::Levels& levels, const Tensor& labels = {},
                                 Mode mode = Mode::train) const;

 private:
  struct Layer {
    Parameter w, b;
    std::optional<Parameter> u;  // of spectral normalisation
    size_t number = 0;
  };
  using Sigmas = std::vector<Spectral>;  // by number; empty: equalised
  Tensor run(const Layer& layer, const Tensor& x, const Sigmas& sigmas, bool activates, int pad = 0) const;
  Tensor run_down(const Layer& layer, const Tensor& x, const Sigmas& sigmas) const;
  Tensor judge(const Tensor& x, const Tensor& labels, const Sigmas& sigmas) const;

  struct Level {
    Layer conv, logits;
    bool down;
  };
  HeadKind kind_;
  std::vector<Level> maps_;     // of several
  std::optional<Layer> front_;  // of one
  Layer hidden_, out_;
  std::optional<Parameter> embedding_;  // [classes, width]
};

// A frozen network and its head: images in, logits out. Its parameters are the head's alone.
class VisionDiscriminator : public Network {
 public:
  struct Options {
    ImageShape images;
    int size = 224;  // of images as the network sees them
    HeadKind head = HeadKind::spectral;
    int classes = 0;
    DType type = DType::f32;  // of the head
  };
  VisionDiscriminator(std::shared_ptr<const FeatureNetwork> network, const Options& options, uint64_t seed);
  // images [N,H,W,3] in [-1,1] -> logits as VisionHead's.
  std::vector<Tensor> operator()(const Tensor& images, const Tensor& labels = {}, Mode mode = Mode::train) const {
    return head_(levels(images), labels, mode);
  }
  FeatureNetwork::Levels levels(const Tensor& images) const;
  const FeatureNetwork& network() const { return *network_; }
  const VisionHead& head() const { return head_; }

 private:
  std::shared_ptr<const FeatureNetwork> network_;
  int size_;
  VisionHead head_;
};

}  // namespace firn
