// Generative latent optimisation (Bojanowski et al. 2018, arXiv 1707.05776) as Noguchi & Harada 2019 (arXiv 1904.01774)
// and Mo et al. 2020 (arXiv 2002.10964) adapt with it: each image has a latent that trains with G, and there is no D.
#pragma once
#include "training/methods/method.h"

namespace firn {

class FeatureNetwork;
class LatentTable;

enum class GloSample { normal, truncated, latents };

struct Glo {
  static constexpr std::string_view kind = "glo";
  double perceptual = 0.1, emd = 0.1, noise = 0.01;
  GloSample sample = GloSample::normal;  // what images are made of after training
  void visit(OptionVisitor& v);
};

Method glo_method();

// From now on g makes images in that way; `latents` are those of the run.
void sample_as(const Glo& o, Generator& g, std::shared_ptr<const LatentTable> latents);

// Images and fakes [N,H,W,3] in [-1,1]: L1 / |L1| + weight sum over layers of MSE / |MSE|, |.| being its value as a
// constant; layers are those of the network.
Tensor reconstruction_loss(const FeatureNetwork& network, const Tensor& images, const Tensor& fakes, double weight);

// How far z [N,K] is from normal draws t [M,K]: the mean over each of the smallest squared distance to the other.
Tensor latent_distance(const Tensor& z, const Tensor& t);

}  // namespace firn
