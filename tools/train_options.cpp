#include "tools/train_options.h"

#include <algorithm>

#include "base/text.h"
#include "kernels/conv/conv_wgrad_amx.h"
#include "tools/common.h"
#include "tools/numbers.h"
#include "tools/own_kernels.h"

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

}  // namespace

void add_options(CLI::App& app, TrainArguments& a) {
  Group run(app, "Run");
  run.add("--outdir", a.outdir, "where run folders are made: OUTDIR/NNNNN-DESCRIPTION")->required();
  run.add("--run-name", a.run_name, "instead of the description");
  run.add("--kimg", a.set.kimg, "thousands of real images to train on")->check(number(0, 1e9));
  run.add("--kimg-per-tick,--tick", a.tick, "thousands of images between reports [4]")->check(number(1e-6, 1e9));
  run.add("--snap", a.snap, "ticks between snapshots [50]")->check(whole(1, 1000000000));
  run.add("--keep", a.keep, "how many snapshots stay; 0 keeps all [0]")->check(whole(0, 1000000000));
  run.add("--seed", a.seed, "random seed [0]")->check(whole(0, INT64_MAX));
  run.add("--abort-after", a.abort_after, "ticks of losses that are not finite, before giving up [2]")
      ->check(whole(1, 1000000000));
  run.add("--grid", a.grid, "COLUMNSxROWS of the sample sheets [by size and device]");
  run.flag("-n,--dry-run", a.dry_run, "say what would be done, and stop");
  run.add("--plan-for", a.plan_for, "plan for the GPU that this file describes (docs/profiling.md), and stop");
  Group data(app, "Data");
  data.add("--data", a.data, "a folder or a zip; see gan-data");
  data.flag("--cond", a.cond, "conditional: train on the labels of the data");
  data.flag("--mirror", a.mirror, "add every image mirrored");
  data.add("--subset", a.subset, "train on that many images only")->check(whole(0, 1000000000));
  data.add("--classes", a.classes, "train on these classes only, like 0-8");
  data.add("--resolution", a.resolution, "SIZE or WIDTHxHEIGHT, with --resize [as stored]");
  data.flag("--resize", a.resize, "centre-crop and resize images of other sizes");
  data.add("--channels", a.channels, "1, 3 or 4 [what the richest image needs]")->check(whole(1, 4));
  data.add("--background", a.background, "behind transparent images: white, black or #rrggbb [white]");
  data.add("--folder", a.folder, "only what lies in this folder of the data; . for all, train/ and val/ alike");
  data.flag("--folder-classes", a.folder_classes, "the outermost folders are classes, whatever they look like");
  Group cfg(app, "Configuration");
  cfg.add("--cfg", a.cfg, "auto, small (for CPUs), stylegan2, paper256, paper512, paper1024, cifar")
      ->capture_default_str();
  cfg.add("--batch", a.set.batch, "images an iteration")->check(whole(1, 65536));
  cfg.add("--batch-gpu", a.set.batch_gpu, "of those at once: smaller needs less memory")->check(whole(1, 65536));
  cfg.add("--gamma", a.set.gamma, "weight of the R1 penalty")->check(number(0, 1e9));
  cfg.add("--lr", a.set.lr, "learning rate of both networks")->check(number(1e-12, 1000));
  cfg.add("--ema-kimg", a.set.ema_kimg, "half-life of the weight average")->check(number(0, 1e9));
  cfg.add("--pl-weight", a.set.pl_weight, "weight of path-length regularisation")->check(number(0, 1e9));
  cfg.add("--mixing", a.set.style_mixing, "probability of style mixing")->check(number(0, 1));
  cfg.add("--map-depth", a.set.map_depth, "layers of the mapping network")->check(whole(1, 64));
  cfg.add("--channel-base,--cbase", a.set.channel_base, "channels at size R are min(base / R, max)")
      ->check(whole(8, 8388608));
  cfg.add("--channel-max,--cmax", a.set.channel_max, "most channels")->check(whole(1, 8192));
  cfg.add("--z-dim", a.set.z_dim, "length of latents")->check(whole(1, 8192));
  cfg.add("--w-dim", a.set.w_dim, "length of style vectors")->check(whole(1, 8192));
  cfg.add("--mbstd-group", a.set.mbstd_group, "images that minibatch-std compares")->check(whole(1, 65536));
  cfg.add("--g-arch", a.g_arch, "orig, skip or resnet [skip]");
  cfg.add("--d-arch", a.d_arch, "orig, skip or resnet [resnet]");
  cfg.add("--conv-clamp", a.set.conv_clamp, "bound of activations; -1: none [-1]")->check(number(-1, 1e9));
  Group start(app, "Where to start");
  start.add("--resume", a.resume,
            "go on from a snapshot FILE in a new run folder, or from the `latest` of the newest run in place");
  start.add("--init", a.init, "a new run from the weights in FILE, whose model is then the default");
  start.flag("--init-partial", a.init_partial, "also where more than a tenth of a network's tensors does not fit");
  start.flag("--data-changed", a.data_changed, "go on with other images or labels than the run began with");
  start.add("--freeze-d", a.freeze.blocks, "FreezeD: freeze the N highest-resolution blocks of D with their fromRGB")
      ->check(whole(0, 64));
  start.add("--freezed", a.freeze.layers, "freeze the first L layers of D, counted as stylegan2-ada-pytorch does")
      ->check(whole(0, 64));
  start.add("--freeze", a.freeze.patterns, "freeze by name: 'D:b64.*,b32.conv0' or 'G:mapping.*'; may be repeated");
  start.flag("--cache-features", a.cache_features,
             "compute what D's frozen blocks make of the real images once, and keep it in memory");
  start.flag("--no-cache-features", a.no_cache_features, "go on without, with --resume");
  Group machine(app, "Machine");
  machine.add("--device", a.device, "auto, cpu, cuda or cuda:INDEX")->capture_default_str();
  machine.add("--threads", a.threads, "CPU threads [all]")->check(whole(0, 1024));
  machine.add("--workers", a.workers, "threads that decode images")->capture_default_str()->check(whole(1, 256));
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
  add_no_own_kernels(app)->group("Machine");
  app.footer(examples);
}

namespace {

std::pair<int, int> parse_pair(const std::string& text, const char* option, int most, bool one_is_enough) {
  const size_t x = text.find('x');
  const auto side = [&](const std::string& part) {
    const bool digits = !part.empty() && part.size() < 5 && part.find_first_not_of("0123456789") == part.npos;
    const int value = digits ? std::stoi(part) : 0;
    if (value < 1 || value > most || (x == text.npos && !one_is_enough))
      throw ConfigError(fmt::format("{} {}: expected {} from 1 to {}, like {}", option, printable(text, 40),
                                    one_is_enough ? "one or two numbers" : "two numbers", most,
                                    one_is_enough ? "256 or 192x256" : "12x8"));
    return value;
  };
  const int first = side(text.substr(0, x));
  return {first, x == text.npos ? first : side(text.substr(x + 1))};
}

std::vector<int> class_list(const TrainArguments& a) {
  std::vector<int> classes;
  if (a.classes.empty()) return classes;
  for (const int64_t c : parse_numbers(a.classes, "--classes")) {
    if (c >= 1 << 16) throw ConfigError(fmt::format("--classes {}: there are classes 0 to 65535 at most", c));
    classes.push_back(int(c));
  }
  return classes;
}

// "." and ".." have names, too: a run and its snapshots are called after their data.
fs::path data_path(const std::string& given) {
  const fs::path path = fs::absolute(given), name = path.filename();
  return name == "." || name == ".." ? fs::weakly_canonical(path) : path;
}

// Options that may change at any time.
void apply_schedule(const TrainArguments& a, TrainOptions& o) {
  if (a.tick) o.kimg_per_tick = *a.tick;
  if (a.snap) o.snap = *a.snap;
  if (a.keep) o.keep = *a.keep;
  if (a.abort_after) o.abort_after = *a.abort_after;
  if (!a.grid.empty()) std::tie(o.grid_columns, o.grid_rows) = parse_pair(a.grid, "--grid", 64, false);
}

}  // namespace

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
  throw ConfigError(fmt::format("--data-memory {}: there are auto, host and device", name));
}

void check_contradictions(const CLI::App& app, const TrainArguments& a) {
  for (const CLI::Option* o : app.get_options())  // an empty variable of a script, most likely
    if (o->get_items_expected_min() > 0 && std::ranges::count(o->results(), std::string{}) > 0)
      throw ConfigError(fmt::format("{} has an empty value", o->get_name()));
  if (!a.resume.empty() && !a.init.empty())
    throw ConfigError("--resume goes on with a run, --init starts another from its weights; give one of them");
  if (a.resume.empty() && a.data.empty()) throw ConfigError("--data is required (only --resume knows it by itself)");
  if (app.count("--freeze-d") && app.count("--freezed"))
    throw ConfigError("--freeze-d and --freezed both count from D's input; give one of them");
  if (a.cache_features && a.no_cache_features)
    throw ConfigError("--cache-features and --no-cache-features contradict each other; give one of them");
  if (a.run_name.find('/') != a.run_name.npos || printable(a.run_name) != a.run_name || a.run_name.size() > 200)
    throw ConfigError(
        fmt::format("--run-name {}: one folder's name is expected, at most 200 bytes without / or control "
                    "characters",
                    printable(a.run_name, 40)));
  if (a.channels == 2) throw ConfigError("--channels 2: images have 1, 3 or 4 channels");
  if (a.init_partial && a.init.empty()) throw ConfigError("--init-partial goes with --init FILE");
  if (a.data_changed && a.resume.empty()) throw ConfigError("--data-changed goes with --resume");
}

TrainOptions fresh_options(TrainArguments& a, const Device& device) {
  TrainOptions o;
  o.cfg = a.cfg;
  o.seed = a.seed.value_or(0);
  o.cond = a.cond;
  o.init = a.init;
  o.freeze = a.freeze;
  o.cache_features = a.cache_features;
  o.data = {.path = data_path(a.data),
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
    std::tie(o.data.width, o.data.height) = parse_pair(a.resolution, "--resolution", 8192, true);
    if (o.data.width == o.data.height) o.data.resolution = std::exchange(o.data.width, o.data.height = 0);
  }
  if (!a.g_arch.empty()) a.set.g_architecture = architecture_from_name(a.g_arch);
  if (!a.d_arch.empty()) a.set.d_architecture = architecture_from_name(a.d_arch);
  o.model.activation_type =
      asked_precision(a).value_or(device.is_cuda() || kernels::has_amx() ? DType::bf16 : DType::f32);
  apply_schedule(a, o);
  preset(o.cfg, 64);  // says at once that there is no such configuration
  return o;
}

TrainOptions resumed_options(const CLI::App& app, const TrainArguments& a, TrainOptions o) {
  const StyleGan2Options& m = o.model;
  const int width = m.width ? m.width : m.height;
  const auto keeps = [&](const char* option, bool same) {
    if (app.count(option) && !same)
      throw ConfigError(
          fmt::format("{} differs from the run that --resume goes on with; start a new run with --init", option));
  };
  const auto is = [](const auto& given, const auto& value) { return !given || *given == value; };
  if (!a.resolution.empty())
    keeps("--resolution", parse_pair(a.resolution, "--resolution", 8192, true) == std::pair(width, m.height));
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
  keeps("--conv-clamp", is(a.set.conv_clamp, m.conv_clamp));
  o.data.channels = m.img_channels;
  if (o.data.resize) std::tie(o.data.width, o.data.height) = std::tie(width, m.height);
  if (!a.data.empty()) o.data.path = data_path(a.data);
  if (!o.data.path.is_absolute())
    throw ConfigError(o.data.path.empty()
                          ? std::string("the snapshot does not say which data it was trained on; give --data")
                          : fmt::format("the snapshot was trained on {}; give --data, which says where that is",
                                        printable(o.data.path.string())));
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

}  // namespace firn::tools
