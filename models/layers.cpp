#include "models/layers.h"

#include <cmath>
#include <numbers>
#include <utility>

#include "base/error.h"
#include "engine/range.h"

namespace firn {

namespace {
constexpr double kMappingLrMult = 0.01;
thread_local bool shapes_only = false;
}  // namespace

ShapesOnly::ShapesOnly() : outer_(std::exchange(shapes_only, true)) {}
ShapesOnly::~ShapesOnly() { shapes_only = outer_; }
bool ShapesOnly::active() { return shapes_only; }

Parameter ParameterMaker::add(const std::string& name, Shape shape, const std::function<Tensor(Shape)>& values,
                              ParameterKind kind) {
  Tensor value =
      ShapesOnly::active() ? Tensor::without_storage(std::move(shape), type_, device_) : values(std::move(shape));
  Parameter parameter(name, std::move(value), kind);
  list_.add(parameter);
  return parameter;
}

Parameter ParameterMaker::normal(const std::string& name, Shape shape, double scale) {
  return add(name, std::move(shape), [&](Shape s) {
    Tensor value = randn(std::move(s), rng_, type_, device_);
    return scale == 1 ? value : value * scale;
  });
}

Parameter ParameterMaker::constant(const std::string& name, Shape shape, double value) {
  return add(name, std::move(shape), [&](Shape s) { return Tensor::full(std::move(s), value, type_, device_); });
}

Parameter ParameterMaker::normal_buffer(const std::string& name, Shape shape) {
  return add(
      name, std::move(shape), [&](Shape s) { return randn(std::move(s), rng_, type_, device_); },
      ParameterKind::buffer);
}

Parameter ParameterMaker::zero_buffer(const std::string& name, Shape shape) {
  return add(
      name, std::move(shape), [&](Shape s) { return Tensor::zeros(std::move(s), type_, device_); },
      ParameterKind::buffer);
}

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
  if (labels.defined())
    inputs.push_back(normalize_2nd_moment(fully_connected(labels, network.embed_weight, network.embed_bias)));
  Tensor x = inputs.size() == 1 ? inputs[0] : concat(inputs, 1);
  for (size_t i = 0; i < network.weights.size(); ++i) {
    const Range range("mapping.fc{}", i);
    x = fully_connected(x, network.weights[i], network.biases[i],
                        {.lr_mult = kMappingLrMult, .slope = 0.2, .gain = std::numbers::sqrt2});
  }
  return x;
}

Tensor as_type(const Tensor& x, DType type) { return x.type() == type ? x : cast(x, type); }

}  // namespace firn
