// TrainOptions as JSON: the same keys in training_options.json and in a snapshot's metadata.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "training/config.h"

namespace firn {

const char* name_of(Architecture architecture) {
  return architecture == Architecture::orig ? "orig" : architecture == Architecture::skip ? "skip" : "resnet";
}

Architecture architecture_from_name(std::string_view name) {
  for (const Architecture a : {Architecture::orig, Architecture::skip, Architecture::resnet})
    if (name == name_of(a)) return a;
  throw ConfigError(fmt::format("no architecture is called '{}'; there are orig, skip, resnet", printable(name)));
}

namespace {

DType type_from_name(std::string_view name) {
  for (const DType t : {DType::f32, DType::bf16, DType::f64})
    if (name == name_of(t)) return t;
  throw ConfigError(fmt::format("no type is called '{}'", printable(name)));
}

}  // namespace

// Found by nlohmann::json through the namespace.
static void to_json(nlohmann::json& j, Architecture a) { j = name_of(a); }
static void from_json(const nlohmann::json& j, Architecture& a) { a = architecture_from_name(j.get<std::string>()); }
static void to_json(nlohmann::json& j, DType t) { j = name_of(t); }
static void from_json(const nlohmann::json& j, DType& t) { t = type_from_name(j.get<std::string>()); }
static void to_json(nlohmann::json& j, Background b) { j = to_string(b); }
static void from_json(const nlohmann::json& j, Background& b) { b = parse_background(j.get<std::string>()); }

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(DatasetOptions, path, resolution, width, height, channels, resize,
                                                mirror, subset, seed, classes, use_labels, background, folder,
                                                folder_classes, by_number)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(StyleGan2Options, height, width, img_channels, c_dim, z_dim, w_dim,
                                                channel_base, channel_max, mapping_layers, g_architecture,
                                                d_architecture, mbstd_group, mbstd_channels, conv_clamp, type,
                                                activation_type, seed)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(LossOptions, r1_gamma, pl_weight, pl_decay, style_mixing,
                                                g_reg_interval, d_reg_interval)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(FreezeOptions, blocks, layers, patterns)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(Fingerprint, images, names, sizes, labels, classes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(TrainOptions, data, dataset_size, class_counts, fingerprint, cond, cfg,
                                                model, loss, lr, beta1, beta2, kimg, ema_kimg, ema_ramp, batch,
                                                batch_gpu, seed, tf32, deterministic, freeze, cache_features, init,
                                                kimg_per_tick, snap, keep, abort_after, grid_columns, grid_rows)

nlohmann::json to_json(const TrainOptions& options) {
  nlohmann::json json = nlohmann::json::object();  // a null one that cannot become an object is left broken
  to_json(json, options);
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
    TrainOptions options = json.get<TrainOptions>();
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
