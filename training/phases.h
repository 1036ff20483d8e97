// The four phases of a StyleGAN2 iteration: losses and gradients, without the optimiser (Karras et al. 2020,
// arXiv 1912.04958: non-saturating logistic loss, lazy R1, lazy path-length regularisation). Nothing here reads the
// device, so that a phase can be recorded and replayed.
#pragma once
#include <string>
#include <vector>

#include "models/stylegan2.h"

namespace firn {

struct LossOptions {
  double r1_gamma = 1;
  double pl_weight = 2, pl_decay = 0.01;
  double style_mixing = 0.9;                    // probability, per batch
  int g_reg_interval = 4, d_reg_interval = 16;  // gain of the lazy terms; 0: the phase never runs
};

struct PhaseInputs {
  Tensor z, z_mix;        // [N,z_dim]; z_mix undefined: no mixing
  Tensor mixing;          // [num_ws], with z_mix: the share of z in each style (StyleGan2Generator::mix)
  Tensor gen_labels;      // one-hot [N,c_dim] or undefined
  Tensor images, labels;  // reals [N,H,W,C], one-hot
  Tensor features;        // of the reals (StyleGan2Discriminator::features); undefined: Dmain takes the images
  Tensor pl_noise;        // N(0,1) like the images of Greg's batch
  NoiseMode noise = NoiseMode::random;
  Rng* rng = nullptr;  // for NoiseMode::random
  double weight = 1;   // share of this micro-batch in the whole batch: gradients are summed over micro-batches
};

struct PhaseResult {
  // One number each, on the device; undefined where the phase has none.
  Tensor loss;                    // mean over samples, with the lazy gain
  Tensor real_score, fake_score;  // mean logits
  Tensor regularizer;             // R1 penalty or path-length penalty, without gain
  Tensor path_length;
  std::vector<Tensor> gradients;  // by position of the network's trainable parameters
};

// Gradients of G's trainable parameters. D's weight gradients are never computed.
PhaseResult g_main(StyleGan2Generator& g, const StyleGan2Discriminator& d, const PhaseInputs& in, const LossOptions& o);
// pl_mean [1] is updated. `in` holds the reduced batch (half of the images).
PhaseResult g_reg(StyleGan2Generator& g, Tensor& pl_mean, const PhaseInputs& in, const LossOptions& o);
// Gradients of D's trainable parameters. Nothing of G is recorded.
PhaseResult d_main(StyleGan2Generator& g, const StyleGan2Discriminator& d, const PhaseInputs& in, const LossOptions& o);
PhaseResult d_reg(const StyleGan2Discriminator& d, const PhaseInputs& in, const LossOptions& o);

}  // namespace firn
