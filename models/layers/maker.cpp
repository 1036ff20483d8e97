#include "models/layers/maker.h"

#include <utility>

#include "models/network.h"

namespace firn {

static thread_local bool shapes_only = false;

ShapesOnly::ShapesOnly() : outer_(std::exchange(shapes_only, true)) {}
ShapesOnly::~ShapesOnly() { shapes_only = outer_; }
bool ShapesOnly::active() { return shapes_only; }

Parameter ParameterMaker::add(const std::string& name, Shape shape, const std::function<Tensor(Shape)>& values,
                              ParameterKind kind) {
  Tensor value =
      ShapesOnly::active() ? Tensor::without_storage(std::move(shape), type_, device_) : values(std::move(shape));
  Parameter parameter(name, std::move(value), kind);
  list_.add(parameter);
  if (const std::string layer = layer_of_weights(name); modulates_ && parameter.value().rank() == 4 && !layer.empty()) {
    Shape row = parameter.value().shape();
    const Parameter out = constant(layer + ".modulate_out", {row[0]}, 0, ParameterKind::addition);
    row[0] = 1;
    const auto normal = [&](Shape s) { return randn(std::move(s), modulation_rng_, type_, device_); };
    parameter.modulate(out, add(layer + ".modulate_in", row, normal, ParameterKind::addition));
  }
  return parameter;
}

Parameter ParameterMaker::normal(const std::string& name, Shape shape, double scale) {
  return add(name, std::move(shape), [&](Shape s) {
    Tensor value = randn(std::move(s), rng_, type_, device_);
    return scale == 1 ? value : value * scale;
  });
}

Parameter ParameterMaker::constant(const std::string& name, Shape shape, double value, ParameterKind kind) {
  return add(
      name, std::move(shape), [&](Shape s) { return Tensor::full(std::move(s), value, type_, device_); }, kind);
}

Parameter ParameterMaker::normal_buffer(const std::string& name, Shape shape, ParameterKind kind) {
  return add(
      name, std::move(shape), [&](Shape s) { return randn(std::move(s), rng_, type_, device_); }, kind);
}

Parameter ParameterMaker::uniform(const std::string& name, Shape shape, double bound) {
  return add(name, std::move(shape),
             [&](Shape s) { return firn::uniform(std::move(s), -bound, bound, rng_, type_, device_); });
}

Parameter ParameterMaker::buffer(const std::string& name, Shape shape, double value) {
  return add(
      name, std::move(shape), [&](Shape s) { return Tensor::full(std::move(s), value, type_, device_); },
      ParameterKind::buffer);
}

Tensor as_type(const Tensor& x, DType type) { return x.type() == type ? x : cast(x, type); }

}  // namespace firn
