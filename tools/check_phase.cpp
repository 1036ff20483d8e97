#include "tools/check_phase.h"

#include "base/error.h"
#include "engine/threads.h"
#include "kernels/choice/provider_numerics.h"
#include "training/iteration.h"

namespace firn::tools {
namespace {

class Inputs {
 public:
  Inputs(const SafetensorsFile& file, const StyleGan2Options& model, const Device& device)
      : file_(file), m_(model), device_(device) {}

  Tensor latents() const { return read("z", {-1, m_.z_dim}); }

  Tensor images(const std::string& name) const {
    const NoGrad no_grad;
    return permute(read(name, {-1, m_.img_channels, m_.height, m_.width ? m_.width : m_.height}), {0, 2, 3, 1});
  }

  Tensor labels() const {
    if (m_.c_dim == 0) return {};
    const StoredTensor& t = file_.at("labels");
    if (t.shape.size() == 2) return read("labels", {-1, m_.c_dim});
    std::vector<int> classes;
    for (const double c : read("labels", {-1}).to_doubles()) {
      if (!(c >= 0 && c < m_.c_dim))
        throw IoError(fmt::format("{}: label {} is not a class of 0 to {}", file_.name, c, m_.c_dim - 1));
      classes.push_back(int(c));
    }
    return one_hot(classes, m_.c_dim, m_.type, device_);
  }

 private:
  Tensor read(const std::string& name, const Shape& want) const {  // -1: any size
    const StoredTensor& t = file_.at(name);
    bool fits = t.shape.size() == want.size() && t.count() > 0;
    for (size_t i = 0; fits && i < want.size(); ++i) fits = want[i] < 0 || t.shape[i] == want[i];
    if (!fits)
      throw IoError(
          fmt::format("{}: {} is {}, expected {} (-1: any)", file_.name, name, to_string(t.shape), to_string(want)));
    return Tensor::from(std::span<const double>(t.to_doubles()), t.shape, m_.type, device_);
  }

  const SafetensorsFile& file_;
  const StyleGan2Options& m_;
  const Device& device_;
};

TrainOptions typed(TrainOptions o, const std::string& type) {
  if (type != "f32" && type != "f64" && type != "bf16")
    throw ConfigError(fmt::format("type {}: there are f32, f64 and bf16", type));
  o.model.type = type == "f64" ? DType::f64 : DType::f32;
  o.model.activation_type = type == "bf16" ? DType::bf16 : o.model.type;
  kernels::set_numerics(o.model.activation_type);
  return o;
}

TrainOptions checked(TrainOptions o, const SafetensorsFile& snapshot) {
  check_networks(o.model, snapshot, {"G", "D"});
  return o;
}

}  // namespace

Check::Check(TrainOptions o, const SafetensorsFile& snapshot, const std::string& type, const Device& device)
    : options(checked(typed(std::move(o), type), snapshot)), state(options, device) {
  load_network(state.g.parameters(), snapshot, "G");
  load_network(state.d.parameters(), snapshot, "D");
  if (snapshot.contains("state.pl_mean"))
    load(Parameter("pl_mean", state.pl_mean, ParameterKind::buffer), snapshot, "state.pl_mean");
}

PhaseResult Check::run(const std::string& phase, const SafetensorsFile& inputs) {
  const Inputs given(inputs, options.model, state.device());
  PhaseInputs in{.noise = NoiseMode::constant};
  in.gen_labels = in.labels = given.labels();
  if (phase != "Dreg") in.z = given.latents();
  if (phase.starts_with("D")) in.images = given.images("images");
  if (phase == "Gmain") return g_main(state.g, state.d, in, options.loss);
  if (phase == "Dmain") return d_main(state.g, state.d, in, options.loss);
  if (phase == "Dreg") return d_reg(state.d, in, options.loss);
  in.pl_noise = given.images("pl_noise");
  return g_reg(state.g, state.pl_mean, in, options.loss);
}

Parameters Check::trained(const std::string& phase) const {
  return (phase.starts_with("G") ? state.g.parameters() : state.d.parameters()).trainable();
}

void check_phase(const std::string& phase) {
  if (phase != "Gmain" && phase != "Greg" && phase != "Dmain" && phase != "Dreg")
    throw ConfigError(fmt::format("phase {}: there are Gmain, Greg, Dmain and Dreg", phase));
}

void use_threads(int threads) {
  if (threads < 0) throw ConfigError("--threads must be at least 1");
  if (threads > 0) set_threads(threads);
}

}  // namespace firn::tools
