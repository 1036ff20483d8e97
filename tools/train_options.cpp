#include "tools/train_options.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/text.h"
#include "kernels/core/cpu_target.h"
#include "tools/common.h"
#include "tools/numbers.h"
#include "tools/option_rows.h"
#include "tools/own_kernels.h"
#include "training/methods/method.h"
#include "training/objectives/objective.h"
#include "training/run/run_folder.h"

namespace fs = std::filesystem;

namespace firn::tools {
namespace {

constexpr const char* examples = R"(Examples:
  # train on a folder or a zip (see gan-data); snapshots and pictures go to runs/00000-faces-auto
  gan-train --outdir runs --data faces.zip --mirror

  # adapt that network to 100 images, the two highest-resolution blocks of D frozen (FreezeD)
  gan-train --outdir runs --data anime.zip --subset 100 --init runs/00000-faces-auto/snapshot-latest.safetensors --freeze-d 2

  # go on after Ctrl-C, a crash or a power cut, as if nothing had happened
  gan-train --outdir runs --resume latest
)";

// "." and ".." have names, too: a run and its snapshots are called after their data.
fs::path data_path(const std::string& given) {
  const fs::path path = fs::absolute(given), name = path.filename();
  return name == "." || name == ".." ? fs::weakly_canonical(path) : path;
}

}  // namespace

void add_options(CLI::App& app, TrainArguments& a) {
  std::string kinds;
  for (const Model& m : models()) kinds += (kinds.empty() ? "" : ", ") + m.kind;
  const std::string model_help = "what to train: " + kinds + " [that of --init, or " + models().front().kind + "]";
  Group run(app, "Run");
  run.add("--outdir", a.outdir, "where run folders are made: OUTDIR/NNNNN-DESCRIPTION")->required();
  run.add("--run-name", a.run_name, "instead of the description");
  run.flag("-n,--dry-run", a.dry_run, "say what would be done, and stop");
  run.add("--plan-for", a.plan_for, "plan for the GPU that this file describes (docs/profiling.md), and stop");
  Group data(app, "Data");
  data.add("--data", a.data, "a folder or a zip; see gan-data");
  Group cfg(app, "Configuration");
  cfg.add("--model", a.model, model_help.c_str());
  Group start(app, "Where to start");
  start.add("--resume", a.resume,
            "go on from a snapshot FILE in a new run folder, or from the `latest` of the newest run in place");
  start.add("--init", a.init, "a new run from the weights in FILE, whose model is then the default");
  start.flag("--init-partial", a.init_partial, "also where more than a tenth of a network's tensors does not fit");
  start.add("--source", a.source, "with --resume: where the file of --init is now, for methods that compare with it");
  start.flag("--data-changed", a.data_changed, "go on with other images or labels than the run began with");
  start.flag("--no-cache-features", a.no_cache_features, "go on without --cache-features, with --resume");
  Group machine(app, "Machine");
  machine.add("--device", a.device, "auto, cpu, cuda or cuda:INDEX")->capture_default_str();
  machine.add("--threads", a.threads, "CPU threads [all]")->check(whole(0, 1024));
  machine.add("--workers", a.workers, "threads that decode images")->capture_default_str()->check(whole(1, 256));
  machine
      .add("--data-memory", a.data_memory,
           "where the images wait: host, device, shards (a part on each process's device), or auto: the device if it "
           "is a GPU with room, else shards if they have")
      ->capture_default_str();
  machine.add("--precision", a.precision,
              "fp32, tf32 (products on a GPU's tensor cores) or bf16 activations [bf16 on GPUs and CPUs with AMX]");
  machine.flag("--fp32", a.fp32, "--precision fp32");
  machine.flag("--bf16", a.bf16, "--precision bf16");
  machine
      .add("--timeout", a.timeout,
           "of several processes: end the run when one has given no sign of life, or of work, for so many seconds")
      ->capture_default_str()
      ->check(number(1, 1e6));
  machine.flag("--verify-processes", a.verify_processes, "compare the states of all processes at the end of each tick");
  OptionRows::of_runs().add_to(app);
  add_no_own_kernels(app)->group("Machine");
  app.add_flag_callback(
         "--list-options",
         [] {
           fmt::print("{}", OptionRows::of_runs().table());
           throw CLI::Success();
         },
         "print every option of a run as a table in Markdown, and stop")
      ->group("Run");
  app.add_flag_callback(
         "--help-methods",
         [] {
           fmt::print("{}", method_help());
           throw CLI::Success();
         },
         "print the methods of adapting a network, with their papers, and stop")
      ->group("Where to start");
  app.footer(examples);
}

std::optional<DType> asked_precision(const TrainArguments& a) {
  if (int(a.fp32) + int(a.bf16) + int(!a.precision.empty()) > 1)
    throw ConfigError("give one of --precision, --fp32, --bf16");
  if (a.fp32 || a.precision == "fp32" || a.precision == "tf32") return DType::f32;
  if (a.bf16 || a.precision == "bf16") return DType::bf16;
  if (!a.precision.empty())
    throw ConfigError(fmt::format("--precision {}: there are fp32, tf32 and bf16", a.precision));
  return std::nullopt;
}

DataMemory data_memory(const std::string& name) {
  if (name == "auto") return DataMemory::automatic;
  if (name == "host") return DataMemory::host;
  if (name == "device") return DataMemory::device;
  if (name == "shards") return DataMemory::shards;
  throw ConfigError(fmt::format("--data-memory {}: there are auto, host, device and shards", name));
}

void check_contradictions(const CLI::App& app, const TrainArguments& a) {
  for (const CLI::Option* o : app.get_options())  // an empty variable of a script, most likely
    if (o->get_items_expected_min() > 0 && std::ranges::count(o->results(), std::string{}) > 0)
      throw ConfigError(fmt::format("{} has an empty value", o->get_name()));
  if (!a.resume.empty() && !a.init.empty())
    throw ConfigError("--resume goes on with a run, --init starts another from its weights; give one of them");
  if (!a.source.empty() && a.resume.empty()) throw ConfigError("--source goes with --resume");
  if (a.resume.empty() && a.data.empty()) throw ConfigError("--data is required (only --resume knows it by itself)");
  if (a.set.has("--freeze-d") && a.set.has("--freezed"))
    throw ConfigError("--freeze-d and --freezed both count from D's input; give one of them");
  if (a.set.has("--cache-features") && a.no_cache_features)
    throw ConfigError("--cache-features and --no-cache-features contradict each other; give one of them");
  if (a.run_name.find('/') != a.run_name.npos || printable(a.run_name) != a.run_name || a.run_name.size() > 200)
    throw ConfigError(
        fmt::format("--run-name {}: one folder's name is expected, at most 200 bytes without / or control "
                    "characters",
                    printable(a.run_name, 40)));
  for (const auto& [option, given] : {std::pair{"--init-partial", a.init_partial},
                                      {"--init-without-buffers", a.set.has("--init-without-buffers")},
                                      {"--class-map", a.set.has("--class-map")}})
    if (given && a.init.empty()) throw ConfigError(fmt::format("{} goes with --init FILE", option));
  if (a.data_changed && a.resume.empty()) throw ConfigError("--data-changed goes with --resume");
}

TrainOptions fresh_options(const TrainArguments& a, const Device& device, const SourceModel* source) {
  TrainOptions o = TrainOptions::of(!a.model.empty() ? std::string_view(a.model)
                                    : source         ? source->model.kind()
                                                     : std::string_view(models().front().kind));
  o.init = a.init;
  o.data.path = data_path(a.data);
  a.set.apply(o);
  if (o.data.channels == 2) throw ConfigError("--channels 2: images have 1, 3 or 4 channels");
  o.data.seed = o.seed;
  o.data.use_labels = o.cond || !o.data.classes.empty();
  o.model.set_types(DType::f32,
                    asked_precision(a).value_or(device.is_cuda() || kernels::has_amx() ? DType::bf16 : DType::f32));
  preset(o.model, o.cfg);  // says at once that there is no such configuration
  return o;
}

TrainOptions resumed_options(const TrainArguments& a, TrainOptions o) {
  const ImageShape m = o.model.images();
  const auto keeps = [&](const char* option, bool same) {
    if (!same)
      throw ConfigError(
          fmt::format("{} differs from the run that --resume goes on with; start a new run with --init", option));
  };
  if (!a.model.empty()) keeps("--model", a.model == o.model.kind());
  o.data.channels = m.channels;
  Overlay set = a.set;
  if (const auto size = set.take("--resolution"))  // of the model, whatever was said when the run began
    keeps("--resolution",
          parse_pair(*size, "--resolution", {.most = 8192, .one_is_enough = true}) == std::pair(m.width, m.height));
  set.apply_resumed(o);
  if (o.data.resize) std::tie(o.data.width, o.data.height) = std::pair(m.width, m.height);
  if (!a.data.empty()) o.data.path = data_path(a.data);
  if (!a.source.empty()) o.init = snapshot_file(a.source).string();
  if (!o.data.path.is_absolute())
    throw ConfigError(o.data.path.empty()
                          ? std::string("the snapshot does not say which data it was trained on; give --data")
                          : fmt::format("the snapshot was trained on {}; give --data, which says where that is",
                                        printable(o.data.path.string())));
  if (const auto precision = asked_precision(a)) o.model.set_types(o.model.type(), *precision);
  o.cache_features = o.cache_features && !a.no_cache_features;
  return o;
}

}  // namespace firn::tools
