// The perceptual distance of Zhang et al. 2018 (arXiv 1801.03924), LPIPS v0.1: of what a network sees at several
// stages, as weights that people's judgements gave compare it.
#pragma once
#include "models/features/features.h"

namespace firn {

class Lpips {
 public:
  // `heads`: a weight for each channel of each stage, as linN.model.1.weight or linN.weight. IoError where they do not
  // fit the network, which must outlive this.
  Lpips(const FeatureNetwork& network, const SafetensorsFile& heads);

  // [N] of images [N,H,W,3] f32 in [-1,1] of any one size. Differentiable.
  Tensor operator()(const Tensor& a, const Tensor& b) const;

  // Its two steps, for images that are compared more than once.
  std::vector<Tensor> stages(const Tensor& images) const;
  Tensor operator()(const std::vector<Tensor>& a, const std::vector<Tensor>& b) const;

 private:
  const FeatureNetwork& network_;
  std::vector<Tensor> heads_;  // [C,1]
  Tensor shift_, scale_;       // [3]
};

}  // namespace firn
