// What StyleGAN's two networks share.
#pragma once
#include "models/layers/maker.h"
#include "models/stylegan/stylegan.h"

namespace firn {

int log2_of(int size);

// NAME.weight_orig and NAME.bias; NAME.weight of convolutions that resample in one piece. `outputs`: their axis.
EqualisedLayer make_layer(ParameterMaker& make, const std::string& name, Shape shape);
EqualisedLayer make_fused(ParameterMaker& make, const std::string& name, Shape shape, size_t outputs = 0);

double equalised(const Parameter& weight, int outputs = 0);  // sqrt(2 / inputs)
Tensor linear_layer(const Tensor& x, const EqualisedLayer& layer, double slope = 1);
Tensor conv_layer(const Tensor& x, const EqualisedLayer& layer, int pad, double slope = 1);
Tensor blur(const Tensor& x);  // [1,2,1] both ways, zeros beyond the image

// How much of what lies behind this many blocks counts: growth - blocks, from 0 to 1 (Karras et al. 2018, arXiv
// 1710.10196).
Tensor reach(const Parameter& growth, int64_t blocks);

// The constants of a blur in files, NAME.weight and NAME.weight_flip.
void add_blur(std::map<std::string, StoredTensor>& blurs, const std::string& name, int channels);
std::vector<std::string> names_of(const std::map<std::string, StoredTensor>& tensors);
const StoredTensor* find(const std::map<std::string, StoredTensor>& tensors, const std::string& name);

}  // namespace firn
