// gan-train: trains a GAN from nothing, from another run's weights (--init), or onwards from a snapshot (--resume).
#include <fmt/ranges.h>
#include <unistd.h>

#include "base/text.h"
#include "engine/communicator.h"
#include "engine/placement.h"
#include "engine/threads.h"
#include "io/files.h"
#include "kernels/choice/plan_store.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/core/cpu_target.h"
#include "kernels/device/cpu_limits.h"
#include "models/files.h"
#include "models/published.h"
#include "tools/common.h"
#include "tools/option_rows.h"
#include "tools/progress.h"
#include "tools/train_options.h"
#include "training/methods/method.h"
#include "training/methods/source.h"
#include "training/report/page.h"
#include "training/run/progression.h"
#include "training/run/rehearsal.h"
#include "training/run/resume.h"
#include "training/run/run_folder.h"
#include "training/run/selection.h"
#include "training/run/trainer.h"
#include "training/state/transfer.h"

namespace fs = std::filesystem;
using namespace firn;
using tools::TrainArguments;

namespace {

std::shared_ptr<const Dataset> open_data(const TrainOptions& o, const TrainArguments& a) {
  std::error_code unknown;
  if (!a.resume.empty() && a.data.empty() && !fs::exists(o.data.path, unknown))
    throw IoError(
        fmt::format("the data of this run is no longer at {}; --data says where it is now", o.data.path.string()));
  auto data = std::make_shared<const Dataset>(o.data);
  if (o.cond && data->num_classes() == 0)
    throw ConfigError(fmt::format("--cond: {} has no labels{}", o.data.path.string(),
                                  data->label_problem().empty() ? "" : ": " + data->label_problem()));
  return data;
}

// What can be done about images of a size that no model has.
void require_trainable(const TrainOptions& o, const Dataset& data) {
  ModelSpec spec = o.model;
  ModelBasics basics = spec.basics();
  basics.images = {data.height(), data.width(), data.channels()};
  spec.set(basics);
  try {
    spec.check();
  } catch (const ConfigError& e) {
    throw ConfigError(
        fmt::format("{}; --resolution SIZE --resize fits the images, gan-data convert --pad crops nothing, "
                    "and gan-data inspect names the nearest sizes",
                    e.what()));
  }
}

std::string freezing(const TrainState& s) {
  std::string text;
  for (const Role& role : s.roles) {
    const FreezeTable table = freeze_table(*role.network);
    text += table.frozen > 0 ? fmt::format("{}:\n{}", role.name, to_string(table))
                             : fmt::format("{:<10} {} parameters, all train\n", role.name, table.total);
  }
  return text;
}

// Which type is the fastest on this processor.
std::string why_of_a_cpu() {
  return kernels::has_amx() ? " (with AMX, bf16 is fastest)"
                            : fmt::format(" ({}, no AMX: bf16 halves activations at about the same speed)",
                                          name_of(kernels::cpu_target()));
}

std::string overview(const TrainOptions& o, const TrainState& s, const Dataset& data, const Device& device,
                     int processes) {
  std::string text = fmt::format("data       {}: {} images of {}x{}x{}", o.data.path.string(), data.size(),
                                 data.width(), data.height(), data.channels());
  if (data.num_classes() > 0)
    text += fmt::format(", {} classes{}", data.num_classes(), o.cond ? "" : " (unused: no --cond)");
  text += fmt::format("\nmodel      {} {}\n", model(o.model.kind()).title, o.model.describe());
  const bool averages = std::ranges::any_of(s.roles, [](const Role& r) { return r.average != nullptr; });
  text += fmt::format("training   {} kimg, batch {} ({} at once), lr {:g}, {}, {}seed {}\n", o.kimg, o.batch,
                      o.batch_gpu, o.lr, objective_of(o.model).describe(o),
                      averages ? fmt::format("ema {:g} kimg, ", o.ema_kimg) : "", o.seed);
  if (o.augment.on()) text += fmt::format("augment    {}\n", o.augment.describe());
  if (processes > 1) text += fmt::format("processes  {}, each with\n", processes);
  text += fmt::format("machine    {}, {} threads, {} activations{}\n", device.name(), threads(),
                      name_of(o.model.basics().activation_type),
                      !device.is_cuda()                             ? why_of_a_cpu()
                      : kernels::numerics(s.device().stream()).tf32 ? ", TF32 products"
                                                                    : "");
  if (!device.is_cuda()) {
    const kernels::CpuLimits& limits = kernels::cpu_limits();
    text += fmt::format("limits     {:.0f} GFLOP/s, {:.0f} GB/s\n",
                        limits.flops(o.model.basics().activation_type) / 1e9, limits.bytes / 1e9);
  }
  return text + freezing(s);
}

std::string overview(const RealsPlan& plan, const Discriminator& d) {
  const auto megabytes = [](int64_t bytes) { return double(bytes) / 1e6; };
  std::string text;
  if (plan.images > 0)
    text += fmt::format("images     {:.1f} MB{}, kept on {}\n", megabytes(plan.images),
                        plan.sharded ? " or less, a part in each process" : "", d.device().name());
  if (plan.features > 0)
    text += fmt::format("features   {:.1f} MB, of all images behind D's frozen blocks ({}), kept on {}\n",
                        megabytes(plan.features), d.frozen_blocks(), d.device().name());
  return text;
}

std::string to_string(const Rehearsal& r) {
  return r.operations == 0 && r.to_plan > 0
             ? fmt::format("planning: {} of {} operations, {}", r.planned, r.to_plan, duration(r.seconds))
             : fmt::format("measuring: {} operations, {}", r.operations, duration(r.seconds));
}

// Minutes, the first time: what a GPU's libraries compile is kept for the next start.
void rehearse_aloud(const TrainOptions& o, const Device& device, const Dataset& data) {
  tools::Line line;
  line.show(fmt::format("planning for {}", device.name()));
  const Rehearsal done = rehearse(o, device, data, [&](const Rehearsal& r) {
    if (line.terminal()) line.show(to_string(r));
  });
  if (!done.warning.empty()) line.say(fmt::format("warning: nothing was planned ahead: {}", done.warning));
  line.say(done.complete ? fmt::format("planned {} and measured {} operations in {:.1f} s", done.planned,
                                       done.operations, done.seconds)
                         : "planning goes on in the run: there is too little memory to rehearse it");
}

// It takes as long as so many steps.
void choose_aloud(TrainState& state, TrainOptions& o, const std::shared_ptr<const Dataset>& data) {
  const std::string by = grounds_of_methods(o);
  tools::Line line;
  if (!by.empty() && line.terminal()) line.show("choosing filters by " + by);
  choose_by_methods(state, o, data);
  if (!by.empty()) line.say("filters chosen by " + by);
}

int plan_aloud(const fs::path& gpu, const TrainOptions& o, const Dataset& data) {
  tools::Line line;
  line.show(fmt::format("planning for the GPU that {} describes", gpu.string()));
  const std::string description = read_text(gpu);
  const Rehearsal done = [&] {
    try {
      return plan_for(description, o, data, [&](const Rehearsal& r) {
        if (line.terminal()) line.show(to_string(r));
      });
    } catch (const DeviceError& e) {
      throw DeviceError(fmt::format("--plan-for {}: {}", gpu.string(), e.what()));
    }
  }();
  line.say(fmt::format("planned {} operations in {:.1f} s; the plans are in {}", done.planned, done.seconds,
                       (kernels::cache_folder() / "plans").string()));
  return 0;
}

int train(const CLI::App& app, TrainArguments& a, tools::StopRequest& stop, const std::shared_ptr<Team>& team) {
  a.set = tools::OptionRows::of_runs().given(app);
  tools::check_contradictions(app, a);
  const DataMemory memory = tools::data_memory(a.data_memory);
  const Device device = a.plan_for.empty() ? device_for(a.device, team->processes()) : Device::dry();

  const bool in_place = a.resume == "latest";
  std::optional<SafetensorsFile> source;
  std::optional<DirectoryLock> lock;  // one process at a time writes to a run folder
  fs::path resumed;
  if (!a.resume.empty()) {
    resumed = in_place ? latest_snapshot(a.outdir) : snapshot_file(a.resume);
    if (in_place && !a.dry_run && a.plan_for.empty()) lock.emplace(resumed.parent_path());
    source = read_safetensors(resumed);
  } else if (!a.init.empty()) {
    source = read_networks(snapshot_file(a.init));
  }
  std::optional<SourceModel> given;  // of --init
  if (source && a.resume.empty()) {
    given = source_model(*source);
    give_model(given->model, "modulated", false);  // transfer() folds it into the weights
  }
  TrainOptions options = a.resume.empty() ? tools::fresh_options(a, device, given ? &*given : nullptr)
                                          : tools::resumed_options(a, resumable_options(*source, resumed));
  const auto data = open_data(options, a);
  std::string shape;  // taken from the source
  ResumedData change;
  if (!resumed.empty()) {
    const int64_t images = options.dataset_size;
    change = check_resumed_data(options, *data, {.accept_changes = a.data_changed});
    if (!change.remark.empty() && a.data_changed && std::ranges::count(options.method_names, "glo"))
      throw ConfigError(
          fmt::format("--method glo has a latent for each of the {} images that it began with: it cannot go "
                      "on with others",
                      images));
    if (!change.remark.empty() && a.data_changed && options.freeze.open())
      throw ConfigError("--freeze-d auto compares depths on the same images; it cannot go on with others");
  } else {
    require_trainable(options, *data);
    shape = configure(options, *data, a.set, given ? &*given : nullptr, team->processes().size());
  }
  options.check();
  const auto precision = tools::asked_precision(a);
  if (precision) options.tf32 = a.precision == "tf32";

  if (!resumed.empty()) {  // before memory is spent on what the file only claims
    std::vector<std::string> networks = {"G", "D"};
    if (objective_of(options.model).averages(options)) networks.push_back("G_ema");
    check_networks(options.model, *source, networks);
  }
  require_metrics(options);
  std::string preamble = progresses(options) && resumed.empty() ? plan_progression(options) : "";
  const TrainOptions widest = options.freeze.open() ? at_depth(options, 0) : options;  // does all that may come
  if (!a.plan_for.empty()) return plan_aloud(a.plan_for, widest, *data);
  std::optional<TrainState> made(std::in_place, options, device);
  TrainState& state = *made;
  if (const int processes = team->processes().size(); processes > 1)  // some phases load networks
    require_parts(phases_of({.options = options, .state = state}), processes);
  const RealsPlan reals = plan_reals(widest, state.discriminator(), *data, memory, team->processes().size());
  if (resumed.empty() && keeps_sources(state)) {  // which the run that goes on will look for
    options.init = fs::absolute(snapshot_file(options.init)).string();
    options.init_sha256 = sha256_of_file(options.init);
  }
  preamble += overview(reals, state.discriminator());
  std::optional<Selection> selection;  // that begins
  if (options.freeze.open() && !in_place) {
    selection = plan_selection(options, freezable_blocks(state.discriminator()));
    preamble += fmt::format("selection  {} blocks of D frozen, by {} at {:g} kimg\n",
                            fmt::join(selection->depths, ", "), selection->metric, double(selection->first) / 1000);
  }
  if (!resumed.empty()) {
    refill_sources(state, options, *source);
    restore(state, *source);
    if (change.new_epoch) state.data = {.epoch = state.data.epoch + 1, .index = 0};
    if (!change.remark.empty()) preamble += change.remark + "\n";
    preamble += fmt::format("resumed    {} at {:.1f} kimg\n", resumed.string(), double(state.counters.images) / 1000);
  } else if (source) {
    const TransferReport report = transfer(state, options, *source, transfer_options(options));
    if (!a.init_partial) require_most(report, *given, options.model);
    const std::vector<std::string> new_classes = train_new_classes(state, options, report);
    require_frozen_copied(state, options, report, *given);  // before choosing takes its time
    choose_aloud(state, options, data);
    require_frozen_copied(state, options, report, *given);
    if (!shape.empty()) preamble += fmt::format("model      from {}: {}\n", a.init, shape);
    preamble += fmt::format("initialised from {}\n{}", a.init, to_string(report));
    if (!new_classes.empty())
      preamble +=
          fmt::format("note       of new classes, so they train in what is frozen: {}\n", fmt::join(new_classes, ", "));
    if (has_network(*source, "miner")) preamble += "note       its miner is not taken: G begins as it is without it\n";
  } else {
    choose_aloud(state, options, data);
    require_frozen_copied(state);
  }
  preamble = overview(options, state, *data, device, team->processes().size()) + preamble;
  source.reset();
  if (resumed.empty()) begin_methods(state, options);
  for (const std::string& note : data->notes()) preamble += fmt::format("note       {}\n", note);
  for (const auto& [name, reason] : data->bad_images())
    preamble += fmt::format("skipped    {}: {}\n", printable(name), printable(reason));
  if (a.dry_run) {
    fmt::print("{}dry run: nothing is written\n", preamble);
    return 0;
  }

  const bool trains = double(state.counters.images) < options.kimg * 1000;
  if (device.is_cuda() && trains) rehearse_aloud(widest, device, *data);
  stop.note_first();  // before there is a run folder, nothing is lost
  const fs::path dir =
      in_place ? resumed.parent_path()
               : create_run_folder(a.outdir, a.run_name.empty() ? run_description(options, a.set) : a.run_name);
  if (!in_place) lock.emplace(dir);
  remove_strays(dir);
  if (in_place && !options.freeze.open()) rewind_stats(dir, state.counters.tick);
  preamble += fmt::format("run folder {}", dir.string());
  const std::string stopped = fmt::format("stopped; go on with: gan-train --outdir {} --resume latest", a.outdir);
  std::optional<RunLog> log(std::in_place, dir, in_place ? AppendFile::Start::append : AppendFile::Start::empty);
  RunSettings settings{.dir = dir,
                       .in_place = in_place,
                       .reals = reals,
                       .workers = a.workers,
                       .stop = &stop.signal(),
                       .live = isatty(STDOUT_FILENO) == 1 && rank_by_launcher() < 0,  // a launcher's is none
                       .report = [&] { write_report({dir}, dir / "report.html"); },
                       .team = team,
                       .verify = a.verify_processes};
  if (options.freeze.open()) {
    Console console(*log, dir);
    console.say(preamble);
    if (selection) begin_selection(dir, options, state, *selection);
    made.reset();
    const std::optional<int> blocks = select_depth(options, device, data, memory, *log, settings);
    if (!blocks) return console.say(stopped), 128 + stop.signal();
    options = at_depth(options, *blocks);
    made.emplace(options, device);
    go_on_from(dir, options, state);
    log.emplace(dir, AppendFile::Start::append);
    settings.in_place = true;
    settings.reals = plan_reals(options, state.discriminator(), *data, memory, team->processes().size());
    preamble = fmt::format("{}{}goes on    at {:g} kimg", overview(settings.reals, state.discriminator()),
                           freezing(state), double(state.counters.images) / 1000);
  }
  forget_candidates(dir);
  if (progresses(options)) {
    Console console(*log, dir);
    console.say(preamble);
    if (!in_place) begin_progression(dir, options, state);
    const Outcome outcome = train_progressively(options, made, data, *log, settings);
    if (outcome == Outcome::finished) return 0;
    return console.say(stopped), 128 + stop.signal();
  }
  Trainer trainer(options, state, data, *log, settings);
  trainer.say(preamble);
  if (trainer.run() == Outcome::finished) return 0;
  trainer.say(stopped);
  trainer.renew_report();
  return 128 + stop.signal();
}

// Threads of this process, unless the user says how many: its share of the machine's.
void set_threads(const TrainArguments& a, const Communicator& processes) {
  if (a.threads > 0) return firn::set_threads(a.threads);
  const auto all = int(sysconf(_SC_NPROCESSORS_ONLN));
  if (processes.size() > 1) firn::set_threads(std::max(1, std::min(threads(), all / processes.on_this_machine())));
}

int follow(const TrainArguments& a, tools::StopRequest& stop, Communicator& processes) {
  stop.note_first();  // process 0 stops
  return firn::follow(processes, {.device = [&] { return device_for(a.device, processes); },
                                  .memory = [&] { return tools::data_memory(a.data_memory); },
                                  .workers = a.workers});
}

// The command line, and what a process is made of.
std::string origins(int argc, char** argv, const Communicator& processes) {
  std::string text = tools::version_text("gan-train", processes.place());
  for (int i = 1; i < argc; ++i) text += fmt::format("\nargument {}: {}", i, argv[i]);
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  firn::wait_politely(argv);
  std::unique_ptr<Communicator> launched;
  std::shared_ptr<Team> team = std::make_shared<Team>(alone());
  const bool leads = rank_by_launcher() <= 0;
  bool in_order = true;  // no other process waits for this one
  if (!leads) [[maybe_unused]]
    auto* const nowhere = std::freopen("/dev/null", "w", stdout);
  const int code = tools::guarded("gan-train", [&](tools::StopRequest& stop) {
    CLI::App app("Trains a GAN, from nothing or from another network's weights.", "gan-train");
    TrainArguments arguments;
    tools::add_options(app, arguments);
    bool proceed = false;
    try {
      if (const int parsed = tools::parse(app, argc, argv, proceed); !proceed) return parsed;
    } catch (const ConfigError&) {
      if (leads) throw;
      return 2;  // as process 0 says
    }
    launched = firn::launched({.timeout = arguments.timeout});
    Communicator& processes = launched ? *launched : alone();
    if (!agree(processes, origins(argc, argv, processes), "another build or command line")) return 2;
    set_threads(arguments, processes);
    if (processes.rank() > 0) {
      in_order = false;
      const int left = follow(arguments, stop, processes);
      in_order = true;
      return left;
    }
    team = std::make_shared<Team>(processes);
    return train(app, arguments, stop, team);
  });
  team->leave(code);
  if (launched && !in_order) launched->abort(code);
  return code;
}
