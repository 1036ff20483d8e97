#include "training/options/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/option_json.h"
#include "base/text.h"
#include "io/json.h"
#include "models/registry.h"
#include "training/methods/method.h"

namespace firn {
namespace {

void require(bool good, const std::string& message) {
  if (!good) throw ConfigError(message);
}

// COLUMNSxROWS of what two rows keep.
TextValue grid_value(int& columns, int& rows) {
  return {.get = [&] { return fmt::format("{}x{}", columns, rows); },
          .set = [&](const std::string& text) { std::tie(columns, rows) = parse_pair(text, "--grid", {.most = 64}); }};
}

TextValue resolution_value(DatasetOptions& data) {
  return {.get =
              [&] {
                return data.resolution ? fmt::to_string(data.resolution)
                                       : fmt::format("{}x{}", data.width, data.height);
              },
          .set =
              [&](const std::string& text) {
                const auto [width, height] = parse_pair(text, "--resolution", {.most = 8192, .one_is_enough = true});
                data.resolution = width == height ? width : 0;
                data.width = width == height ? 0 : width;
                data.height = width == height ? 0 : height;
              }};
}

std::vector<AnyOptions> method_defaults() {
  std::vector<AnyOptions> all;
  for (const Method& method : methods())
    if (method.defaults) all.push_back(method.defaults());
  return all;
}

TextValue methods_value(std::vector<std::string>& names) {
  return {.get = [&] { return names.empty() ? "finetune" : fmt::format("{}", fmt::join(names, "+")); },
          .set =
              [&](const std::string& text) {
                std::vector<std::string> known, given;
                for (const Method& m : methods()) known.push_back(m.name);
                for (size_t begin = 0; begin <= text.size();) {
                  const size_t end = std::min(text.find('+', begin), text.size());
                  given.push_back(text.substr(begin, end - begin));
                  if (!std::ranges::count(known, given.back())) throw_no_name("method", given.back(), known);
                  if (std::ranges::count(given, given.back()) > 1)
                    throw ConfigError(fmt::format("--method {}: {} comes twice", printable(text, 80), given.back()));
                  begin = end + 1;
                }
                names = given;
              }};
}

class RangeCheck : public OptionVisitor {
  void row(const Option& option, OptionValue value) override { check_range(option, value); }
};

struct FingerprintRows {
  Fingerprint& f;
  void visit(OptionVisitor& v) {
    v({.key = "images"}, f.images);
    v({.key = "names"}, f.names);
    v({.key = "sizes"}, f.sizes);
    v({.key = "labels"}, f.labels);
    v({.key = "classes"}, f.classes);
  }
};

}  // namespace

std::pair<int, int> parse_pair(const std::string& text, const char* option, PairRules rules) {
  const size_t x = text.find('x');
  const auto side = [&](const std::string& part) {
    const bool digits = !part.empty() && part.size() < 5 && part.find_first_not_of("0123456789") == part.npos;
    const int value = digits ? std::stoi(part) : 0;
    if (value < 1 || value > rules.most || (x == text.npos && !rules.one_is_enough))
      throw ConfigError(fmt::format("{} {}: expected {} from 1 to {}, like {}", option, printable(text, 40),
                                    rules.one_is_enough ? "one or two numbers" : "two numbers", rules.most,
                                    rules.one_is_enough ? "256 or 192x256" : "12x8"));
    return value;
  };
  const int first = side(text.substr(0, x));
  return {first, x == text.npos ? first : side(text.substr(x + 1))};
}

TrainOptions TrainOptions::of(std::string_view kind) {
  TrainOptions o;
  o.model = firn::model(kind).defaults();
  o.loss = objective_of(o.model).defaults();
  o.methods = method_defaults();
  return o;
}

void TrainOptions::visit(OptionVisitor& v) {
  constexpr const char *run = "Run", *cfg_group = "Configuration", *start = "Where to start";
  v({.key = "kimg",
     .flag = "--kimg",
     .help = "thousands of real images to train on",
     .group = run,
     .least = 0,
     .most = 1e9,
     .may_change = true,
     .folder = "kimg"},
    kimg);
  v({.key = "kimg_per_tick",
     .flag = "--kimg-per-tick,--tick",
     .help = "thousands of images between reports [4, less in short runs]",
     .group = run,
     .least = 0,
     .most = 1e9,
     .above_least = true,
     .may_change = true},
    kimg_per_tick);
  v({.key = "snap",
     .flag = "--snap",
     .help = "ticks between snapshots [for 10 to 20 in a run]",
     .group = run,
     .least = 1,
     .most = 1e9,
     .may_change = true},
    snap);
  v({.key = "keep",
     .flag = "--keep",
     .help = "how many snapshots stay; 0 keeps all [0]",
     .group = run,
     .least = 0,
     .most = 1e9,
     .may_change = true},
    keep);
  v({.key = "report",
     .flag = "--report,!--no-report",
     .help = "renew report.html, a page of curves and samples, at each snapshot",
     .group = run,
     .may_change = true},
    report);
  v({.key = "seed", .flag = "--seed", .help = "random seed [0]", .group = run, .least = 0}, seed);
  v({.key = "abort_after",
     .flag = "--abort-after",
     .help = "ticks of losses that are not finite, before giving up [2]",
     .group = run,
     .least = 1,
     .most = 1e9,
     .may_change = true},
    abort_after);
  v({.key = "grid_columns", .least = 0, .most = 64}, grid_columns);
  v({.key = "grid_rows", .least = 0, .most = 64}, grid_rows);
  v({.flag = "--grid",
     .help = "COLUMNSxROWS of the sample sheets [by size and device]",
     .group = run,
     .may_change = true},
    grid_value(grid_columns, grid_rows));

  v({.key = "cond", .flag = "--cond", .help = "conditional: train on the labels of the data", .group = "Data"}, cond);
  v.nested("data", data);
  v({.flag = "--resolution", .help = "SIZE or WIDTHxHEIGHT, with --resize [as stored]", .group = "Data"},
    resolution_value(data));
  v({.key = "dataset_size"}, dataset_size);
  v({.key = "class_counts"}, class_counts);
  FingerprintRows rows{fingerprint};
  v.nested("fingerprint", rows);

  v({.key = "cfg", .flag = "--cfg", .help = preset_help(), .group = cfg_group}, cfg);
  v({.key = "batch",
     .flag = "--batch",
     .help = "images an iteration",
     .group = cfg_group,
     .least = 1,
     .most = 65536,
     .folder = "batch"},
    batch);
  v({.key = "batch_gpu",
     .flag = "--batch-gpu",
     .help = "of those at once: smaller needs less memory",
     .group = cfg_group,
     .least = 1,
     .most = 65536},
    batch_gpu);
  v({.key = "lr",
     .flag = "--lr",
     .help = "learning rate of both networks",
     .group = cfg_group,
     .least = 0,
     .most = 1000,
     .above_least = true,
     .may_change = true},
    lr);
  v({.key = "lr_decay_kimg",
     .flag = "--lr-decay-kimg",
     .help = "let the learning rate fall from there on, in a line to 0 at --kimg; -1: never",
     .group = cfg_group,
     .least = -1,
     .most = 1e9,
     .may_change = true},
    lr_decay_kimg);
  v({.key = "beta1", .least = 0}, beta1);
  v({.key = "beta2", .least = 0}, beta2);
  v({.key = "ema_kimg",
     .flag = "--ema-kimg",
     .help = "half-life of the weight average",
     .group = cfg_group,
     .least = 0,
     .most = 1e9,
     .may_change = true},
    ema_kimg);
  v({.key = "ema_ramp"}, ema_ramp);
  v.nested("augment", augment);
  v.nested("metrics", metrics);
  v.nested("loss", loss);
  if (model.defined()) v.nested("model", model);

  v({.key = "init"}, init);
  v({.key = "init_sha256"}, init_sha256);
  v({.key = "class_map",
     .flag = "--class-map",
     .help = "classes of --init that are classes here, as OLD=NEW,...; all others are new [the same, if as many]",
     .group = start},
    class_map);
  v({.key = "init_without_buffers",
     .flag = "--init-without-buffers",
     .help = "leave averages and power iterations of the source, as some published code does",
     .group = start},
    init_without_buffers);
  v({.key = "embed_source",
     .flag = "--embed-source",
     .help = "snapshots hold the networks of --init that a method needs, instead of naming the file",
     .group = start,
     .may_change = true},
    embed_source);
  v({.key = "method_names",
     .flag = "--method",
     .help = "how to adapt the network of --init, several with + between them; see --help-methods [finetune]",
     .group = start,
     .folder = "method_"},
    methods_value(method_names));
  v({.key = "legacy",
     .flag = "--legacy",
     .help = "scale-shift, minegan and glo as the published code of FreezeD has them, errors included; see "
             "docs/training.md",
     .group = start,
     .folder = "legacy"},
    legacy);
  v.nested("freeze", freeze);
  for (AnyOptions& m : methods) v.nested(std::string(m.kind()).c_str(), m);
  v({.key = "cache_features",
     .flag = "--cache-features",
     .help = "compute what D's frozen blocks make of the real images once, and keep it in memory",
     .group = start,
     .may_change = true},
    cache_features);
  v({.key = "tf32"}, tf32);
  v({.key = "deterministic",
     .flag = "--deterministic",
     .help = "repeat a run bit for bit on a GPU too: no choice depends on measured time",
     .group = "Machine",
     .may_change = true},
    deterministic);
  v({.key = "bf16_gradients",
     .flag = "--bf16-gradients",
     .help = "several processes send each other gradients in bf16: half the bytes, rounded twice",
     .group = "Machine",
     .may_change = true},
    bf16_gradients);
}

void TrainOptions::check() const {
  TrainOptions copy = *this;
  RangeCheck ranges;
  copy.visit(ranges);
  require(batch % batch_gpu == 0, fmt::format("--batch {} is not a multiple of --batch-gpu {}", batch, batch_gpu));
  require(is_utf8(data.path.string()) && is_utf8(init), "paths must be UTF-8, for they are kept as JSON");
  require(beta1 < 1 && beta2 < 1, "Adam's betas are from 0 to below 1");
  require(freeze.blocks == 0 || freeze.layers == 0,
          "--freeze-d and --freezed both count from D's input; give one of them");
  require(
      !cache_features || !augment.on(),
      fmt::format("--cache-features keeps what D's frozen blocks make of the real images once for all, and --aug {} "
                  "shows D others each time; give one of them",
                  augment.aug));
  // Beyond these a broken file asks, not a user.
  const ModelBasics m = model.basics();
  require(m.z_dim <= 8192 && m.classes <= 100000 && std::max(m.images.width, m.images.height) <= 8192,
          "the model is larger than anything that was meant");
  stop_when(metrics);
  model.check();
  objective_of(model).check(*this);
  for (const Method* method : chosen_methods(*this))
    if (method->check) method->check(*this);
}

nlohmann::json to_json(const TrainOptions& options) {
  nlohmann::json json = options_to_json(options);
  json["model"]["kind"] = options.model.kind();
  json["loss"]["kind"] = options.loss.kind();
  return json;
}

// Older snapshots say nothing about folders, nor had a subset to be within the set: theirs are read as they were then.
static void keep_old_rules(const nlohmann::json& json, TrainOptions& o) {
  if (const auto data = json.find("data"); data == json.end() || data->contains("by_number")) return;
  o.data.folder_classes = true;
  o.data.by_number = false;
  if (o.dataset_size > 0 && o.data.subset * (o.data.mirror ? 2 : 1) > o.dataset_size) o.data.subset = 0;
}

TrainOptions train_options_from_json(const nlohmann::json& json, std::string_view name) {
  try {
    const nlohmann::json none = nlohmann::json::object();
    TrainOptions options;
    options.model = model_from_json(json.value("model", none), name);
    options.loss = objective_of(options.model).defaults();
    options.methods = method_defaults();
    options_from_json(json, options);
    keep_old_rules(json, options);
    options.check();
    return options;
  } catch (const nlohmann::json::exception& e) {
    throw IoError(fmt::format("{}: the options cannot be read: {}", name, e.what()));
  } catch (const ConfigError& e) {
    throw IoError(fmt::format("{}: {}", name, e.what()));
  }
}

}  // namespace firn
