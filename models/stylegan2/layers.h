// What StyleGAN2's two networks share: fully connected layers, the mapping network.
#pragma once
#include "models/layers/maker.h"
#include "models/stylegan2/stylegan2.h"

namespace firn {

// Equalised learning rate (Karras et al. 2018): gain lrelu(x (w m / sqrt(in))^T + b m), m = lr_mult.
struct FullyConnected {
  double lr_mult = 1, slope = 1, gain = 1;
};
Tensor fully_connected(const Tensor& x, const Parameter& w, const Parameter& b, FullyConnected p = {});

// z_dim 0: the labels alone are mapped. They are [N] i32, or [N,classes] for what lies between classes.
struct MappingShape {
  int z_dim, c_dim, width, layers;
};
MappingNetwork make_mapping(ParameterMaker& make, MappingShape shape);
Tensor map(const MappingNetwork& network, const Tensor& z, const Tensor& labels);

// Constants that a StyleGAN2 of NVIDIA's registers beside each convolution and in each block that resamples.
std::vector<std::string> filter_names(const Parameters& parameters);
const StoredTensor* filter_constant(const std::string& name);  // null where the name is no such constant's

}  // namespace firn
