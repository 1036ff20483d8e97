// gan-check: one phase of a training step on given inputs, with its losses and every gradient written out, so that
// anybody can hold this engine against another implementation. `compare` holds it against itself.

#include "engine/threads.h"
#include "tools/check_compare.h"
#include "tools/check_phase.h"
#include "tools/option_rows.h"
#include "tools/own_kernels.h"
#include "training/run/run_folder.h"

using namespace firn;

namespace {

constexpr const char* notes = R"(Inputs (safetensors):   z [N,z_dim]          Gmain, Greg, Dmain
                        images [N,C,H,W]     Dmain, Dreg; in [-1,1]
                        pl_noise [N,C,H,W]   Greg; N(0,1), divided by sqrt(H W) here
                        labels, gen_labels   integers [N] or one-hot [N,classes], for conditional networks: of images,
                                             and of what z makes where that has labels of its own
Outputs (safetensors):  loss, what the phase has of regularizer, path_length, real_score and fake_score, and grad.NAME
                        for each trainable tensor

Examples:
  gan-check --snapshot S --phase Dreg --inputs in.safetensors --out out.safetensors --type f64
  gan-check compare --a cpu:f32 --b cuda:bf16 --resolution 64 --tolerance 0.1
)";

struct Arguments {
  std::string snapshot, phase, inputs, out, type = "f32", device = "cpu";
  int threads = 0;
};

void add_options(CLI::App& app, Arguments& a) {
  app.add_option("--snapshot", a.snapshot, "a snapshot of gan-train, or its run folder");
  app.add_option("--phase", a.phase, "of those that the model is trained by: Gmain, Dmain, ...");
  app.add_option("--inputs", a.inputs, "what the phase is given");
  app.add_option("--out", a.out, "where the results go");
  app.add_option("--type", a.type, "f32, f64 or bf16")->capture_default_str();
  app.add_option("--device", a.device, "auto, cpu, cuda or cuda:INDEX")->capture_default_str();
  app.add_option("--threads", a.threads, "CPU threads [all]");
  tools::add_no_own_kernels(app);
  app.footer(notes);
}

// With zeros for the rows that do not train.
Tensor whole(const Tensor& gradient, const Parameter& p) {
  const NoGrad no_grad;
  return p.rows() ? scatter_add(gradient, p.rows()->index, p.value().dim(0)) : gradient;
}

StoredTensor scalar(double value) { return StoredTensor::of(std::span<const double>(&value, 1), {}); }

int check(const Arguments& a) {
  for (const auto& [name, value] :
       {std::pair{"--snapshot", &a.snapshot}, {"--phase", &a.phase}, {"--inputs", &a.inputs}, {"--out", &a.out}})
    if (value->empty()) throw ConfigError(fmt::format("{} is required", name));
  tools::use_threads(a.threads);
  const Device device = Device::from_name(a.device);
  const std::filesystem::path file = snapshot_file(a.snapshot);
  for (const std::filesystem::path& source : {file, std::filesystem::path(a.inputs)})
    tools::require_other_file(a.out, source);
  const SafetensorsFile snapshot = read_safetensors(file);
  tools::Check subject(snapshot_options(snapshot), snapshot, a.type, device);
  subject.phase(a.phase);  // says at once that there is no such phase
  const PhaseResult result = subject.run(a.phase, read_safetensors(a.inputs));

  SafetensorsFile out;
  out.metadata = {{"phase", a.phase}, {"type", a.type}};
  for (const Term& term : result.report) out.tensors[term.name] = scalar(term.value.item());
  const Parameters trained = subject.trained(a.phase);
  for (size_t i = 0; i < trained.size(); ++i)
    out.tensors["grad." + trained[i].name()] =
        stored(Parameter(trained[i].name(), whole(result.gradients[i], trained[i]), ParameterKind::buffer));
  write_safetensors(a.out, out);
  fmt::print("{} loss {:.9g}, {} gradients in {}\n", a.phase, result["loss"].item(), result.gradients.size(), a.out);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  firn::wait_politely(argv);
  return tools::guarded("gan-check", [&] {
    CLI::App app("Runs one phase of a training step and writes its losses and gradients.", "gan-check");
    Arguments arguments;
    add_options(app, arguments);
    tools::CompareArguments compare_arguments;
    CLI::App* sub =
        app.add_subcommand("compare", "Runs phases on two devices or in two types and says how they differ.");
    tools::add_options(*sub, compare_arguments);
    tools::add_no_own_kernels(*sub);
    bool proceed;
    const int code = tools::parse(app, argc, argv, proceed);
    if (!proceed) return code;
    compare_arguments.set = tools::OptionRows::of_models().given(*sub);
    return sub->parsed() ? tools::compare(compare_arguments) : check(arguments);
  });
}
