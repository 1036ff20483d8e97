// gan-check: one phase of a training step on given inputs, with its losses and every gradient written out, so that
// anybody can hold this engine against another implementation. Constant noise, no style mixing.

#include "engine/threads.h"
#include "models/weights.h"
#include "tools/common.h"
#include "training/iteration.h"
#include "training/snapshot.h"

using namespace firn;

namespace {

constexpr const char* notes = R"(Inputs (safetensors):   z [N,z_dim]          Gmain, Greg, Dmain
                        images [N,C,H,W]     Dmain, Dreg; in [-1,1]
                        pl_noise [N,C,H,W]   Greg; N(0,1), divided by sqrt(H W) here
                        labels               integers [N] or one-hot [N,classes], for conditional networks
Outputs (safetensors):  loss, regularizer, path_length, real_score, fake_score, and grad.NAME for each trainable tensor

Example:
  gan-check --snapshot S --phase Dreg --inputs in.safetensors --out out.safetensors --type f64
)";

struct Arguments {
  std::string snapshot, phase, inputs, out, type = "f32", device = "cpu";
  int threads = 0;
};

void add_options(CLI::App& app, Arguments& a) {
  app.add_option("--snapshot", a.snapshot, "a snapshot of gan-train")->required();
  app.add_option("--phase", a.phase, "Gmain, Greg, Dmain or Dreg")->required();
  app.add_option("--inputs", a.inputs, "what the phase is given")->required();
  app.add_option("--out", a.out, "where the results go")->required();
  app.add_option("--type", a.type, "f32, f64 or bf16")->capture_default_str();
  app.add_option("--device", a.device, "auto, cpu, cuda or cuda:INDEX")->capture_default_str();
  app.add_option("--threads", a.threads, "CPU threads [all]");
  app.footer(notes);
}

class Inputs {
 public:
  Inputs(const std::string& path, const StyleGan2Options& model, const Device& device)
      : file_(read_safetensors(path)), m_(model), device_(device) {}

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

  SafetensorsFile file_;
  const StyleGan2Options& m_;
  const Device& device_;
};

StoredTensor scalar(double value) { return StoredTensor::of(std::span<const double>(&value, 1), {}); }

void store_gradients(SafetensorsFile& out, const Parameters& parameters, const std::vector<Tensor>& gradients) {
  const Parameters trainable = parameters.trainable();
  for (size_t i = 0; i < trainable.size(); ++i)
    out.tensors["grad." + trainable[i].name()] =
        stored(Parameter(trainable[i].name(), gradients[i], ParameterKind::buffer));
}

void set_type(StyleGan2Options& model, const std::string& type) {
  if (type != "f32" && type != "f64" && type != "bf16")
    throw ConfigError(fmt::format("--type {}: there are f32, f64 and bf16", type));
  model.type = type == "f64" ? DType::f64 : DType::f32;
  model.activation_type = type == "bf16" ? DType::bf16 : model.type;
}

int check(const Arguments& a) {
  if (a.phase != "Gmain" && a.phase != "Greg" && a.phase != "Dmain" && a.phase != "Dreg")
    throw ConfigError(fmt::format("--phase {}: there are Gmain, Greg, Dmain and Dreg", a.phase));
  if (a.threads < 0) throw ConfigError("--threads must be at least 1");
  if (a.threads > 0) set_threads(a.threads);
  const Device device = Device::from_name(a.device);
  const SafetensorsFile snapshot = read_safetensors(a.snapshot);
  TrainOptions options = snapshot_options(snapshot);
  set_type(options.model, a.type);
  TrainState state(options, device);
  load_network(state.g.parameters(), snapshot, "G");
  load_network(state.d.parameters(), snapshot, "D");
  if (snapshot.contains("state.pl_mean"))
    load(Parameter("pl_mean", state.pl_mean, ParameterKind::buffer), snapshot, "state.pl_mean");

  const Inputs given(a.inputs, options.model, device);
  PhaseInputs in{.noise = NoiseMode::constant};
  in.gen_labels = in.labels = given.labels();
  PhaseResult result;
  const bool of_g = a.phase.starts_with("G");
  if (a.phase != "Dreg") in.z = given.latents();
  if (!of_g) in.images = given.images("images");
  if (a.phase == "Gmain") {
    result = g_main(state.g, state.d, in, options.loss);
  } else if (a.phase == "Greg") {
    in.pl_noise = given.images("pl_noise");
    result = g_reg(state.g, state.pl_mean, in, options.loss);
  } else if (a.phase == "Dmain") {
    result = d_main(state.g, state.d, in, options.loss);
  } else {
    result = d_reg(state.d, in, options.loss);
  }

  SafetensorsFile out;
  out.metadata = {{"phase", a.phase}, {"type", a.type}};
  const auto number = [](const Tensor& t) { return scalar(t.defined() ? t.item() : 0); };
  out.tensors = {{"loss", number(result.loss)},
                 {"regularizer", number(result.regularizer)},
                 {"path_length", number(result.path_length)},
                 {"real_score", number(result.real_score)},
                 {"fake_score", number(result.fake_score)}};
  store_gradients(out, of_g ? state.g.parameters() : state.d.parameters(), result.gradients);
  write_safetensors(a.out, out);
  fmt::print("{} loss {:.9g}, {} gradients in {}\n", a.phase, result.loss.item(), result.gradients.size(), a.out);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  firn::wait_politely(argv);
  return tools::guarded("gan-check", [&] {
    CLI::App app("Runs one phase of a training step and writes its losses and gradients.", "gan-check");
    Arguments arguments;
    add_options(app, arguments);
    bool proceed;
    const int code = tools::parse(app, argc, argv, proceed);
    return proceed ? check(arguments) : code;
  });
}
