// Every convolution of StyleGAN2's two networks, as the engine asks the kernels for it.
#pragma once
#include <string>
#include <vector>

#include "kernels/conv/conv.h"
#include "models/stylegan2/stylegan2.h"

namespace firn::plans {

struct Layer {
  std::string name;  // "256 / 16384: G b64.conv0"
  kernels::ConvProblem problem;
  bool styled = false, biased = false, added = false;  // what follows: demodulation, noise and bias; a bias; a sum
};

// The layers of one configuration for a batch of N.
std::vector<Layer> layers(const StyleGan2Options&, int64_t N);

// Those of 32 to 256 pixels with both channel bases: each once, or each convolution once whatever follows it.
std::vector<Layer> all_layers();
std::vector<Layer> all_problems();

}  // namespace firn::plans
