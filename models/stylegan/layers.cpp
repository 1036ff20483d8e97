#include "models/stylegan/layers.h"

#include <bit>
#include <cmath>

namespace firn {

int log2_of(int size) { return std::bit_width(static_cast<unsigned>(size)) - 1; }

static EqualisedLayer make(ParameterMaker& maker, const std::string& weight, const std::string& bias, Shape shape,
                           size_t outputs) {
  const int64_t out = shape[outputs];
  const Parameter w = maker.normal(weight, std::move(shape));
  return {w, maker.constant(bias, {out}, 0)};
}

EqualisedLayer make_layer(ParameterMaker& maker, const std::string& name, Shape shape) {
  return make(maker, name + ".weight_orig", name + ".bias", std::move(shape), 0);
}

EqualisedLayer make_fused(ParameterMaker& maker, const std::string& name, Shape shape, size_t outputs) {
  return make(maker, name + ".weight", name + ".bias", std::move(shape), outputs);
}

double equalised(const Parameter& w, int outputs) {
  return std::sqrt(2 * static_cast<double>(w.value().dim(outputs)) / static_cast<double>(w.count()));
}

Tensor linear_layer(const Tensor& x, const EqualisedLayer& l, double slope) {
  return bias_act(matmul(x, l.weight(), {.trans_b = true, .alpha = equalised(l.weight)}), l.bias(), {.slope = slope});
}

Tensor conv_layer(const Tensor& x, const EqualisedLayer& l, int pad, double slope) {
  return styled_conv2d(x, {}, l.weight(), l.bias(), {.pad = pad, .gain = equalised(l.weight)}, {.slope = slope});
}

Tensor blur(const Tensor& x) {
  return upfirdn2d(x, {.taps = {0.25, 0.5, 0.25}, .pad_x0 = 1, .pad_x1 = 1, .pad_y0 = 1, .pad_y1 = 1});
}

Tensor reach(const Parameter& growth, int64_t blocks) {
  const Tensor beyond = growth() - double(blocks);
  return relu(beyond) - relu(beyond - 1.0);
}

void add_blur(std::map<std::string, StoredTensor>& blurs, const std::string& name, int channels) {
  std::vector<float> values;
  for (int c = 0; c < channels; ++c)
    for (const float a : {1.f, 2.f, 1.f})
      for (const float b : {1.f, 2.f, 1.f}) values.push_back(a * b / 16);
  for (const char* which : {".weight", ".weight_flip"})
    blurs[name + which] = StoredTensor::of(std::span<const float>(values), {channels, 1, 3, 3});
}

std::vector<std::string> names_of(const std::map<std::string, StoredTensor>& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}

const StoredTensor* find(const std::map<std::string, StoredTensor>& tensors, const std::string& name) {
  const auto it = tensors.find(name);
  return it == tensors.end() ? nullptr : &it->second;
}

}  // namespace firn
