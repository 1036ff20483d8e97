#include "models/stylegan2/layers.h"

#include <cmath>
#include <numbers>
#include <set>

#include "base/error.h"
#include "engine/range.h"

namespace firn {

namespace {
constexpr double kMappingLrMult = 0.01;
}  // namespace

Tensor fully_connected(const Tensor& x, const Parameter& w, const Parameter& b, FullyConnected p) {
  const double gain = p.lr_mult / std::sqrt(static_cast<double>(w().dim(1)));
  return bias_act(matmul(x, w(), {.trans_b = true, .alpha = gain}), p.lr_mult == 1 ? b() : b() * p.lr_mult,
                  {.slope = p.slope, .gain = p.gain});
}

MappingNetwork make_mapping(ParameterMaker& make, MappingShape shape) {
  MappingNetwork network;
  if (shape.c_dim) {
    network.embed_weight = make.normal("mapping.embed.weight", {shape.width, shape.c_dim});
    network.embed_bias = make.constant("mapping.embed.bias", {shape.width}, 0);
  }
  int in = shape.z_dim + (shape.c_dim ? shape.width : 0);
  for (int i = 0; i < shape.layers; ++i, in = shape.width) {
    const std::string name = fmt::format("mapping.fc{}", i);
    network.weights.push_back(make.normal(name + ".weight", {shape.width, in}, 1 / kMappingLrMult));
    network.biases.push_back(make.constant(name + ".bias", {shape.width}, 0));
  }
  return network;
}

Tensor map(const MappingNetwork& network, const Tensor& z, const Tensor& labels) {
  std::vector<Tensor> inputs;
  if (z.defined()) inputs.push_back(normalize_2nd_moment(z));
  if (labels.defined()) {
    const Tensor& w = network.embed_weight();
    const Tensor y = is_integer(labels.type()) ? one_hot(labels, w.dim(1), w.type()) : labels;
    inputs.push_back(normalize_2nd_moment(fully_connected(y, network.embed_weight, network.embed_bias)));
  }
  Tensor x = inputs.size() == 1 ? inputs[0] : concat(inputs, 1);
  for (size_t i = 0; i < network.weights.size(); ++i) {
    const Range range("mapping.fc{}", i);
    x = fully_connected(x, network.weights[i], network.biases[i],
                        {.lr_mult = kMappingLrMult, .slope = 0.2, .gain = std::numbers::sqrt2});
  }
  return x;
}

std::vector<std::string> filter_names(const Parameters& parameters) {
  std::set<std::string> names;
  for (const Parameter& p : parameters) {
    const std::string& name = p.name();
    const size_t dot = name.rfind('.');
    const std::string layer = name.substr(0, dot);
    if (p.value().rank() == 4 && name.ends_with(".weight") && !layer.ends_with("torgb"))
      names.insert(layer + ".resample_filter");
    const bool of_g = name.starts_with("synthesis.b");
    if (!of_g && !name.starts_with("b")) continue;
    const std::string block = name.substr(0, name.find('.', of_g ? 10 : 0));
    if (block != "b4") names.insert(block + ".resample_filter");
  }
  return {names.begin(), names.end()};
}

const StoredTensor* filter_constant(const std::string& name) {
  static const StoredTensor filter = [] {
    constexpr float taps[] = {1, 3, 3, 1};
    std::vector<float> values;
    for (const float a : taps)
      for (const float b : taps) values.push_back(a * b / 64);
    return StoredTensor::of(std::span<const float>(values), {4, 4});
  }();
  return name.ends_with(".resample_filter") ? &filter : nullptr;
}

}  // namespace firn
