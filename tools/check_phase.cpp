#include "tools/check_phase.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/threads.h"
#include "kernels/choice/provider_numerics.h"
#include "training/step/feed.h"
#include "training/step/iteration.h"

namespace firn::tools {
namespace {

// Integers [N] or one-hot [N,classes].
std::vector<int> classes_of(const std::vector<double>& values, const Shape& shape, int classes,
                            const std::string& file) {
  std::vector<int> result;
  if (shape.size() == 1) {
    for (const double c : values) {
      if (!(c >= 0 && c < classes) || c != std::floor(c))
        throw IoError(fmt::format("{}: label {} is not a class of 0 to {}", file, c, classes - 1));
      result.push_back(int(c));
    }
    return result;
  }
  for (auto row = values.begin(); row != values.end(); row += classes) {
    const auto one = std::find(row, row + classes, 1.0);
    if (one == row + classes || std::count(row, row + classes, 0.0) != classes - 1)
      throw IoError(fmt::format("{}: labels of {} numbers are not one-hot", file, classes));
    result.push_back(int(one - row));
  }
  return result;
}

// One input of a phase by the tensor of that name; undefined where the networks take none.
Tensor read(const SafetensorsFile& file, const Phase::Input& input, const ModelBasics& m, const Device& device) {
  using Kind = Phase::Input::Kind;
  if (input.kind == Kind::label && m.classes == 0) return {};
  const std::string& name = input.file.empty() ? input.name : input.file;
  const StoredTensor& t = file.at(name);
  Shape want = {-1};  // any number of samples
  if (input.kind == Kind::images)
    want.insert(want.end(), {input.shape[2], input.shape[0], input.shape[1]});  // files have channels first
  else
    want.insert(want.end(), input.shape.begin(), input.shape.end());
  if (input.kind == Kind::label && t.shape.size() == 2) want.push_back(m.classes);
  bool fits = t.shape.size() == want.size() && t.count() > 0;
  for (size_t i = 0; fits && i < want.size(); ++i) fits = want[i] < 0 || t.shape[i] == want[i];
  if (!fits)
    throw IoError(
        fmt::format("{}: {} is {}, expected {} (-1: any)", file.name, name, to_string(t.shape), to_string(want)));
  const std::vector<double> values = t.to_doubles();
  if (!std::ranges::all_of(values, [](double v) { return std::isfinite(v); }))
    throw IoError(fmt::format("{}: {} has values that are not finite", file.name, name));
  if (input.kind == Kind::label)
    return class_labels(classes_of(values, t.shape, m.classes, file.name), m.classes, device);
  const NoGrad no_grad;
  const Tensor tensor = Tensor::from(std::span<const double>(values), t.shape, m.type, device);
  return input.kind == Kind::images ? permute(tensor, {0, 2, 3, 1}) : tensor;
}

TrainOptions typed(TrainOptions o, const std::string& type) {
  if (type != "f32" && type != "f64" && type != "bf16")
    throw ConfigError(fmt::format("type {}: there are f32, f64 and bf16", type));
  const DType own = type == "f64" ? DType::f64 : DType::f32;
  o.model.set_types(own, type == "bf16" ? DType::bf16 : own);
  o.tf32 = o.deterministic = false;
  return o;
}

TrainOptions checked(TrainOptions o, const SafetensorsFile& snapshot) {
  check_networks(o.model, snapshot, {"G", "D"});
  return o;
}

}  // namespace

Check::Check(TrainOptions o, const SafetensorsFile& snapshot, const std::string& type, const Device& device)
    : options(checked(typed(std::move(o), type), snapshot)),
      state(options, device),
      phases(phases_of({.options = options, .state = state})) {
  for (const Role& role : state.roles) {
    if (!role.source_of.empty() && !has_network(snapshot, role.name))
      throw IoError(fmt::format("{}: what {} was before training is not in it; runs with --embed-source keep it",
                                snapshot.name, role.source_of));
    load_network(*role.network, snapshot, role.in_files);
  }
  for (const auto& [name, value] : state.scalars)
    if (snapshot.contains("state." + name))
      load(Parameter(name, value, ParameterKind::buffer), snapshot, "state." + name);
  state.discriminator().settle();
}

const Phase& Check::phase(const std::string& name) const {
  std::vector<std::string> names;
  for (const Phase& p : phases) {
    if (p.name == name) return p;
    names.push_back(p.name);
  }
  throw_no_name("phase", name, names);
}

PhaseResult Check::run(const std::string& name, const SafetensorsFile& file) {
  Phase own = phase(name);
  Inputs inputs;
  for (const Phase::Input& input : own.inputs)
    inputs.put(input.name, read(file, input, options.model.basics(), state.device()));
  own.at_once = inputs.size();
  return run_phase(own, state, inputs, nullptr);
}

Parameters Check::trained(const std::string& name) const {
  const Phase& p = phase(name);
  Parameters all = state.role(p.trains).network->parameters().trainable();
  for (const std::string& beside : p.beside)
    for (const Parameter& own : state.role(beside).network->parameters().trainable()) all.add(own);
  return all;
}

void use_threads(int threads) {
  if (threads < 0) throw ConfigError("--threads must be at least 1");
  if (threads > 0) set_threads(threads);
}

}  // namespace firn::tools
