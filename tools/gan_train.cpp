// gan-train: trains StyleGAN2 from nothing, from another run's weights (--init), or onwards from a snapshot (--resume).
#include <unistd.h>

#include "engine/threads.h"
#include "io/files.h"
#include "kernels/conv_wgrad_amx.h"
#include "kernels/provider_numerics.h"
#include "tools/common.h"
#include "training/run_folder.h"
#include "training/snapshot.h"
#include "training/trainer.h"

namespace fs = std::filesystem;
using namespace firn;

namespace {

constexpr const char* examples = R"(Examples:
  # train on a folder or a zip (see gan-data); snapshots and pictures go to runs/00000-faces-auto
  gan-train --outdir runs --data faces.zip --mirror

  # adapt that network to 100 images, the two highest-resolution blocks of D frozen (FreezeD)
  gan-train --outdir runs --data anime.zip --subset 100 --init runs/00000-faces-auto/snapshot-latest.safetensors --freeze-d 2

  # go on after Ctrl-C, a crash or a power cut, as if nothing had happened
  gan-train --outdir runs --resume latest
)";

struct Arguments {
  std::string outdir, run_name, data, resume, init, classes, resolution, g_arch, d_arch, grid, precision, folder;
  std::string cfg = "auto", device = "auto", data_memory = "auto", background = "white";
  std::optional<double> tick, conv_clamp;
  std::optional<int> snap, keep, abort_after;
  std::optional<uint64_t> seed;
  int64_t subset = 0;
  int channels = 0, threads = 0, workers = 2;
  bool cond = false, mirror = false, resize = false, dry_run = false, cache_features = false, no_cache_features = false,
       folder_classes = false, fp32 = false, bf16 = false, deterministic = false;
  FreezeOptions freeze;
  PresetOverrides set;
};

void add_options(CLI::App& app, Arguments& a) {
  tools::Group run(app, "Run");
  run.add("--outdir", a.outdir, "where run folders are made: OUTDIR/NNNNN-DESCRIPTION")->required();
  run.add("--run-name", a.run_name, "instead of the description");
  run.add("--kimg", a.set.kimg, "thousands of real images to train on");
  run.add("--kimg-per-tick,--tick", a.tick, "thousands of images between reports [4]");
  run.add("--snap", a.snap, "ticks between snapshots [50]");
  run.add("--keep", a.keep, "how many snapshots stay; 0 keeps all [0]");
  run.add("--seed", a.seed, "random seed [0]");
  run.add("--abort-after", a.abort_after, "ticks of losses that are not finite, before giving up [2]");
  run.add("--grid", a.grid, "COLUMNSxROWS of the sample sheets [by size and device]");
  run.flag("-n,--dry-run", a.dry_run, "say what would be done, and stop");
  tools::Group data(app, "Data");
  data.add("--data", a.data, "a folder or a zip; see gan-data");
  data.flag("--cond", a.cond, "conditional: train on the labels of the data");
  data.flag("--mirror", a.mirror, "add every image mirrored");
  data.add("--subset", a.subset, "train on that many images only");
  data.add("--classes", a.classes, "train on these classes only, like 0-8");
  data.add("--resolution", a.resolution, "SIZE or WIDTHxHEIGHT, with --resize [as stored]");
  data.flag("--resize", a.resize, "centre-crop and resize images of other sizes");
  data.add("--channels", a.channels, "1, 3 or 4 [what the richest image needs]");
  data.add("--background", a.background, "behind transparent images: white, black or #rrggbb [white]");
  data.add("--folder", a.folder, "only what lies in this folder of the data; . for all, train/ and val/ alike");
  data.flag("--folder-classes", a.folder_classes, "the outermost folders are classes, whatever they look like");
  tools::Group cfg(app, "Configuration");
  cfg.add("--cfg", a.cfg, "auto, small (for CPUs), stylegan2, paper256, paper512, paper1024, cifar")
      ->capture_default_str();
  cfg.add("--batch", a.set.batch, "images an iteration");
  cfg.add("--batch-gpu", a.set.batch_gpu, "of those at once: smaller needs less memory");
  cfg.add("--gamma", a.set.gamma, "weight of the R1 penalty");
  cfg.add("--lr", a.set.lr, "learning rate of both networks");
  cfg.add("--ema-kimg", a.set.ema_kimg, "half-life of the weight average");
  cfg.add("--pl-weight", a.set.pl_weight, "weight of path-length regularisation");
  cfg.add("--mixing", a.set.style_mixing, "probability of style mixing");
  cfg.add("--map-depth", a.set.map_depth, "layers of the mapping network");
  cfg.add("--channel-base,--cbase", a.set.channel_base, "channels at size R are min(base / R, max)");
  cfg.add("--channel-max,--cmax", a.set.channel_max, "most channels");
  cfg.add("--z-dim", a.set.z_dim, "length of latents");
  cfg.add("--w-dim", a.set.w_dim, "length of style vectors");
  cfg.add("--mbstd-group", a.set.mbstd_group, "images that minibatch-std compares");
  cfg.add("--g-arch", a.g_arch, "orig, skip or resnet [skip]");
  cfg.add("--d-arch", a.d_arch, "orig, skip or resnet [resnet]");
  cfg.add("--conv-clamp", a.conv_clamp, "bound of activations [none]");
  tools::Group start(app, "Where to start");
  start.add("--resume", a.resume,
            "go on from a snapshot FILE in a new run folder, or from the `latest` of the newest run in place");
  start.add("--init", a.init, "a new run from the weights in FILE: what fits by name and shape");
  start.add("--freeze-d", a.freeze.blocks, "FreezeD: freeze the N highest-resolution blocks of D with their fromRGB");
  start.add("--freezed", a.freeze.layers, "freeze the first L layers of D, counted as stylegan2-ada-pytorch does");
  start.add("--freeze", a.freeze.patterns, "freeze by name: 'D:b64.*,b32.conv0' or 'G:mapping.*'; may be repeated");
  start.flag("--cache-features", a.cache_features,
             "compute what D's frozen blocks make of the real images once, and keep it in memory");
  start.flag("--no-cache-features", a.no_cache_features, "go on without, with --resume");
  tools::Group machine(app, "Machine");
  machine.add("--device", a.device, "auto, cpu, cuda or cuda:INDEX")->capture_default_str();
  machine.add("--threads", a.threads, "CPU threads [all]");
  machine.add("--workers", a.workers, "threads that decode images")->capture_default_str();
  machine
      .add("--data-memory", a.data_memory,
           "where the images wait: host, device, or auto: the device if it is a GPU with room")
      ->capture_default_str();
  machine.add("--precision", a.precision,
              "fp32, tf32 (products on a GPU's tensor cores) or bf16 activations [bf16 on GPUs and CPUs with AMX]");
  machine.flag("--fp32", a.fp32, "--precision fp32");
  machine.flag("--bf16", a.bf16, "--precision bf16");
  machine.flag("--deterministic", a.deterministic,
               "repeat a run bit for bit on a GPU too: no choice depends on measured time");
  app.footer(examples);
}

std::pair<int, int> parse_pair(const std::string& text, const char* option, bool one_is_enough) {
  const size_t x = text.find('x');
  const auto first = tools::parse_numbers(text.substr(0, x), option);
  const auto second = x == std::string::npos ? first : tools::parse_numbers(text.substr(x + 1), option);
  if (first.size() != 1 || second.size() != 1 || first[0] > 8192 || second[0] > 8192 ||
      (x == std::string::npos && !one_is_enough))
    throw ConfigError(fmt::format("{} {}: expected two numbers, like 12x8", option, text));
  return {int(first[0]), int(second[0])};
}

// What the user asked for, or nothing.
std::optional<DType> asked_precision(const Arguments& a) {
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
  throw ConfigError(fmt::format("--data-memory {}: there are auto, host and device", name));
}

void check_contradictions(const CLI::App& app, const Arguments& a) {
  if (!a.resume.empty() && !a.init.empty())
    throw ConfigError("--resume goes on with a run, --init starts another from its weights; give one of them");
  if (a.resume.empty() && a.data.empty()) throw ConfigError("--data is required (only --resume knows it by itself)");
  if (app.count("--freeze-d") && app.count("--freezed"))
    throw ConfigError("--freeze-d and --freezed both count from D's input; give one of them");
  if (a.cache_features && a.no_cache_features)
    throw ConfigError("--cache-features and --no-cache-features contradict each other; give one of them");
  if (a.threads < 0 || a.workers < 1 || a.workers > 256)
    throw ConfigError("--threads must be at least 1, --workers 1 to 256");
  if (a.subset < 0) throw ConfigError("--subset must not be negative");
}

// Options that may change at any time.
void apply_schedule(const Arguments& a, TrainOptions& o) {
  if (a.tick) o.kimg_per_tick = *a.tick;
  if (a.snap) o.snap = *a.snap;
  if (a.keep) o.keep = *a.keep;
  if (a.abort_after) o.abort_after = *a.abort_after;
  if (!a.grid.empty()) std::tie(o.grid_columns, o.grid_rows) = parse_pair(a.grid, "--grid", false);
}

std::vector<int> class_list(const Arguments& a) {
  std::vector<int> classes;
  if (!a.classes.empty())
    for (const int64_t c : tools::parse_numbers(a.classes, "--classes"))
      classes.push_back(int(std::min<int64_t>(c, 1 << 30)));
  return classes;
}

TrainOptions fresh_options(Arguments& a, const Device& device) {
  TrainOptions o;
  o.cfg = a.cfg;
  o.seed = a.seed.value_or(0);
  o.cond = a.cond;
  o.init = a.init;
  o.freeze = a.freeze;
  o.cache_features = a.cache_features;
  o.data = {.path = fs::absolute(a.data),
            .channels = a.channels,
            .background = parse_background(a.background),
            .resize = a.resize,
            .mirror = a.mirror,
            .subset = a.subset,
            .seed = o.seed,
            .classes = class_list(a),
            .use_labels = a.cond || !a.classes.empty(),
            .folder = a.folder,
            .folder_classes = a.folder_classes};
  if (!a.resolution.empty()) {
    std::tie(o.data.width, o.data.height) = parse_pair(a.resolution, "--resolution", true);
    if (o.data.width == o.data.height) o.data.resolution = std::exchange(o.data.width, o.data.height = 0);
  }
  if (!a.g_arch.empty()) a.set.g_architecture = architecture_from_name(a.g_arch);
  if (!a.d_arch.empty()) a.set.d_architecture = architecture_from_name(a.d_arch);
  o.model.conv_clamp = a.conv_clamp.value_or(-1);
  o.model.activation_type =
      asked_precision(a).value_or(device.is_cuda() || kernels::has_amx() ? DType::bf16 : DType::f32);
  apply_schedule(a, o);
  preset(o.cfg, 64);  // says at once that there is no such configuration
  return o;
}

// The options of the snapshot, with those replaced that may change; another model or data is a contradiction.
TrainOptions resumed_options(const CLI::App& app, const Arguments& a, TrainOptions o) {
  const StyleGan2Options& m = o.model;
  const int width = m.width ? m.width : m.height;
  const auto keeps = [&](const char* option, bool same) {
    if (app.count(option) && !same)
      throw ConfigError(
          fmt::format("{} differs from the run that --resume goes on with; start a new run with --init", option));
  };
  const auto is = [](const auto& given, const auto& value) { return !given || *given == value; };
  if (!a.resolution.empty())
    keeps("--resolution", parse_pair(a.resolution, "--resolution", true) == std::pair(width, m.height));
  keeps("--batch", is(a.set.batch, o.batch));
  keeps("--batch-gpu", is(a.set.batch_gpu, o.batch_gpu));
  keeps("--seed", is(a.seed, o.seed));
  keeps("--cfg", a.cfg == o.cfg);
  keeps("--cond", a.cond == o.cond);
  keeps("--mirror", a.mirror == o.data.mirror);
  keeps("--subset", a.subset == o.data.subset);
  keeps("--classes", class_list(a) == o.data.classes);
  keeps("--resize", a.resize == o.data.resize);
  keeps("--background", parse_background(a.background) == o.data.background);
  keeps("--folder", a.folder == o.data.folder);
  keeps("--folder-classes", a.folder_classes == o.data.folder_classes);
  keeps("--channels", a.channels == m.img_channels);
  keeps("--freeze-d", a.freeze.blocks == o.freeze.blocks);
  keeps("--freezed", a.freeze.layers == o.freeze.layers);
  keeps("--freeze", a.freeze.patterns == o.freeze.patterns);
  keeps("--map-depth", is(a.set.map_depth, m.mapping_layers));
  keeps("--channel-base", is(a.set.channel_base, m.channel_base));
  keeps("--channel-max", is(a.set.channel_max, m.channel_max));
  keeps("--z-dim", is(a.set.z_dim, m.z_dim));
  keeps("--w-dim", is(a.set.w_dim, m.w_dim));
  keeps("--mbstd-group", is(a.set.mbstd_group, m.mbstd_group));
  keeps("--g-arch", a.g_arch == name_of(m.g_architecture));
  keeps("--d-arch", a.d_arch == name_of(m.d_architecture));
  keeps("--conv-clamp", is(a.conv_clamp, m.conv_clamp));
  o.data.channels = m.img_channels;
  if (!a.data.empty()) o.data.path = fs::absolute(a.data);
  if (o.data.path.empty()) throw ConfigError("the snapshot does not say which data it was trained on; give --data");
  o.kimg = a.set.kimg.value_or(o.kimg);
  o.lr = a.set.lr.value_or(o.lr);
  o.ema_kimg = a.set.ema_kimg.value_or(o.ema_kimg);
  o.loss.r1_gamma = a.set.gamma.value_or(o.loss.r1_gamma);
  o.loss.pl_weight = a.set.pl_weight.value_or(o.loss.pl_weight);
  o.loss.style_mixing = a.set.style_mixing.value_or(o.loss.style_mixing);
  o.model.activation_type = asked_precision(a).value_or(m.activation_type);
  o.cache_features = (o.cache_features || a.cache_features) && !a.no_cache_features;
  apply_schedule(a, o);
  return o;
}

std::shared_ptr<const Dataset> open_data(Arguments& a, TrainOptions& o) {
  auto data = std::make_shared<const Dataset>(o.data);
  const bool resumed = !a.resume.empty();
  if (o.cond && data->num_classes() == 0)
    throw ConfigError(fmt::format("--cond: {} has no labels{}", o.data.path.string(),
                                  data->label_problem().empty() ? "" : ": " + data->label_problem()));
  o.class_counts = o.cond ? data->class_counts() : std::vector<int64_t>{};
  const int classes = o.cond ? data->num_classes() : 0;
  if (!resumed) {
    o.dataset_size = data->size();
    apply_preset(o, data->width(), data->height(), data->channels(), classes, a.set);
    return data;
  }
  const StyleGan2Options& m = o.model;
  const int width = m.width ? m.width : m.height;
  if (data->width() != width || data->height() != m.height || data->channels() != m.img_channels || classes != m.c_dim)
    throw ConfigError(
        fmt::format("{} has {}x{} images of {} channels and {} classes; the run to resume has {}x{}, {} and {}",
                    o.data.path.string(), data->width(), data->height(), data->channels(), classes, width, m.height,
                    m.img_channels, m.c_dim));
  if (data->size() != o.dataset_size)
    throw ConfigError(fmt::format("{} has {} images; the run to resume began with {}", o.data.path.string(),
                                  data->size(), o.dataset_size));
  return data;
}

std::string overview(const TrainOptions& o, const TrainState& s, const Dataset& data, const Device& device) {
  const StyleGan2Options& m = o.model;
  std::string text = fmt::format("data       {}: {} images of {}x{}x{}", o.data.path.string(), data.size(),
                                 data.width(), data.height(), data.channels());
  if (data.num_classes() > 0)
    text += fmt::format(", {} classes{}", data.num_classes(), o.cond ? "" : " (unused: no --cond)");
  text += fmt::format("\nmodel      StyleGAN2 {} / {}, channels {} / R up to {}, mapping depth {}\n",
                      name_of(m.g_architecture), name_of(m.d_architecture), m.channel_base, m.channel_max,
                      m.mapping_layers);
  text += fmt::format("training   {} kimg, batch {} ({} at once), lr {:g}, gamma {:.4g}, ema {:g} kimg, seed {}\n",
                      o.kimg, o.batch, o.batch_gpu, o.lr, o.loss.r1_gamma, o.ema_kimg, o.seed);
  text +=
      fmt::format("machine    {}, {} threads, {} activations{}\n", device.name(), threads(), name_of(m.activation_type),
                  device.is_cuda()     ? kernels::numerics().tf32 ? ", TF32 products" : ""
                  : kernels::has_amx() ? " (the CPU has AMX)"
                                       : "");
  for (const auto& [name, table] : {std::pair{"G", freeze_table(s.g)}, {"D", freeze_table(s.d)}})
    text += table.frozen > 0 ? fmt::format("{}:\n{}", name, to_string(table))
                             : fmt::format("{}          {} parameters, all train\n", name, table.total);
  return text;
}

std::string overview(const RealsPlan& plan, const StyleGan2Discriminator& d) {
  const auto megabytes = [](int64_t bytes) { return double(bytes) / 1e6; };
  std::string text;
  if (plan.images > 0)
    text += fmt::format("images     {:.1f} MB, kept on {}\n", megabytes(plan.images), d.device().name());
  if (plan.features > 0)
    text += fmt::format("features   {:.1f} MB, of all images behind D's frozen blocks ({}), kept on {}\n",
                        megabytes(plan.features), d.frozen_blocks(), d.device().name());
  return text;
}

int train(const CLI::App& app, Arguments& a, tools::StopRequest& stop) {
  check_contradictions(app, a);
  const DataMemory memory = data_memory(a.data_memory);
  if (a.threads > 0) set_threads(a.threads);
  const Device device = Device::from_name(a.device);

  const bool in_place = a.resume == "latest";
  std::optional<SafetensorsFile> source;
  std::optional<DirectoryLock> lock;  // one process at a time writes to a run folder
  fs::path resumed;
  if (!a.resume.empty()) {
    resumed = in_place ? latest_snapshot(a.outdir) : snapshot_file(a.resume);
    if (in_place && !a.dry_run) lock.emplace(resumed.parent_path());
    source = read_safetensors(resumed);
  } else if (!a.init.empty()) {
    source = read_safetensors(snapshot_file(a.init));
  }
  TrainOptions options =
      a.resume.empty() ? fresh_options(a, device) : resumed_options(app, a, snapshot_options(*source));
  const auto data = open_data(a, options);
  options.check();
  if (asked_precision(a)) options.tf32 = a.precision == "tf32";
  if (a.deterministic) options.deterministic = true;
  kernels::set_numerics(options.model.activation_type, options.tf32, options.deterministic);

  TrainState state(options, device);
  const RealsPlan reals = plan_reals(options, state.d, *data, memory);
  std::string preamble = overview(options, state, *data, device) + overview(reals, state.d);
  if (!resumed.empty()) {
    restore(state, *source);
    preamble += fmt::format("resumed    {} at {:.1f} kimg\n", resumed.string(), double(state.counters.images) / 1000);
  } else if (source) {
    preamble += fmt::format("initialised from {}\n{}", a.init, to_string(transfer(state, *source)));
  }
  source.reset();
  for (const std::string& note : data->notes()) preamble += fmt::format("note       {}\n", note);
  for (const auto& [name, reason] : data->bad_images())
    preamble += fmt::format("skipped    {}: {}\n", printable(name), printable(reason));
  if (a.dry_run) {
    fmt::print("{}dry run: nothing is written\n", preamble);
    tools::flush_output();
    return 0;
  }

  stop.note_first();  // before there is a run folder, nothing is lost
  const fs::path dir =
      in_place ? resumed.parent_path()
               : create_run_folder(a.outdir, a.run_name.empty() ? run_description(options, a.set) : a.run_name);
  if (!in_place) lock.emplace(dir);
  remove_strays(dir);
  if (in_place) rewind_stats(dir, state.counters.tick);
  RunLog log(dir, in_place ? AppendFile::Start::append : AppendFile::Start::empty);
  Trainer trainer(options, state, data, log,
                  {.dir = dir,
                   .in_place = in_place,
                   .reals = reals,
                   .workers = a.workers,
                   .stop = &stop.signal(),
                   .live = isatty(STDOUT_FILENO) == 1});
  trainer.say(preamble + fmt::format("run folder {}", dir.string()));
  if (trainer.run() == Outcome::finished) return 0;
  trainer.say(fmt::format("stopped; go on with: gan-train --outdir {} --resume latest", a.outdir));
  return 128 + stop.signal();
}

}  // namespace

int main(int argc, char** argv) {
  firn::wait_politely(argv);
  return tools::guarded("gan-train", [&](tools::StopRequest& stop) {
    CLI::App app("Trains a StyleGAN2, from nothing or from another network's weights.", "gan-train");
    Arguments arguments;
    add_options(app, arguments);
    bool proceed;
    const int code = tools::parse(app, argc, argv, proceed);
    return proceed ? train(app, arguments, stop) : code;
  });
}
