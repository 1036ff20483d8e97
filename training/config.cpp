#include "training/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "io/json.h"

namespace firn {
namespace {

// batch_gpu is the batch over the number of GPUs that the configuration was made for.
const std::vector<Preset>& presets() {
  static const std::vector<Preset> table = {
      {.name = "stylegan2", .batch = 32, .batch_gpu = 4, .gamma = 10},
      {.name = "paper256",
       .batch = 64,
       .batch_gpu = 8,
       .mbstd_group = 8,
       .channel_base = 16384,
       .lr = 0.0025,
       .gamma = 1,
       .ema_kimg = 20},
      {.name = "paper512", .batch = 64, .batch_gpu = 8, .mbstd_group = 8, .lr = 0.0025, .gamma = 0.5, .ema_kimg = 20},
      {.name = "paper1024", .batch = 32, .batch_gpu = 4, .gamma = 2},
      {.name = "cifar",
       .kimg = 100000,
       .batch = 64,
       .batch_gpu = 32,
       .mbstd_group = 32,
       .lr = 0.0025,
       .gamma = 0.01,
       .ema_kimg = 500,
       .ema_ramp = 0.05,
       .map_depth = 2,
       .pl_weight = 0,
       .style_mixing = 0,
       .d_architecture = Architecture::orig},
  };
  return table;
}

Preset automatic(int resolution) {
  int batch = std::max(std::min(4096 / resolution, 32), 1);
  if (batch > 4) batch -= batch % 4;  // whole groups of minibatch-std
  return {.name = "auto",
          .batch = batch,
          .batch_gpu = batch,
          .mbstd_group = std::min(batch, 4),
          .channel_base = resolution >= 512 ? 32768 : 16384,
          .lr = resolution >= 1024 ? 0.002 : 0.0025,
          .gamma = 0.0002 * resolution * resolution / batch,
          .ema_kimg = batch * 10.0 / 32,
          .ema_ramp = 0.05,
          .map_depth = 2};
}

// For trying things on a CPU: `auto` with an eighth of the channels and short style vectors.
Preset small(int resolution) {
  Preset p = automatic(resolution);
  p.name = "small";
  p.kimg = 200;
  p.channel_base /= 8;
  p.channel_max = 128;
  p.z_dim = p.w_dim = 128;
  return p;
}

// What divides a batch at once as groups of about that size. A group of one compares nothing.
int fitting_group(int wish, int batch) {
  if (wish <= 1) return 1;
  for (int group = std::min(wish, batch); group > 1; --group)
    if (batch % group == 0) return group;
  for (int group = wish + 1; group < batch; ++group)
    if (batch % group == 0) return group;
  return std::max(batch, 1);
}

void require(bool good, const std::string& message) {
  if (!good) throw ConfigError(message);
}

}  // namespace

const std::vector<std::string>& preset_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = {"auto", "small"};
    for (const Preset& p : presets()) all.push_back(p.name);
    return all;
  }();
  return names;
}

Preset preset(std::string_view name, int resolution) {
  if (name == "auto") return automatic(resolution);
  if (name == "small") return small(resolution);
  for (const Preset& p : presets())
    if (p.name == name) return p;
  throw ConfigError(
      fmt::format("no configuration is called '{}'; there are {}", name, fmt::join(preset_names(), ", ")));
}

void apply_preset(TrainOptions& o, int width, int height, int channels, int classes, const PresetOverrides& set) {
  const Preset p = preset(o.cfg, std::max(width, height));
  o.batch = set.batch.value_or(p.batch);
  // A batch of another size keeps the configuration's micro-batch where that divides it.
  o.batch_gpu = set.batch_gpu.value_or(o.batch % p.batch_gpu == 0 ? std::min(p.batch_gpu, o.batch) : o.batch);
  o.model = {
      .height = height,
      .width = width,
      .img_channels = channels,
      .c_dim = classes,
      .z_dim = set.z_dim.value_or(p.z_dim),
      .w_dim = set.w_dim.value_or(p.w_dim),
      .channel_base = set.channel_base.value_or(p.channel_base),
      .channel_max = set.channel_max.value_or(p.channel_max),
      .mapping_layers = set.map_depth.value_or(p.map_depth),
      .g_architecture = set.g_architecture.value_or(Architecture::skip),
      .d_architecture = set.d_architecture.value_or(p.d_architecture),
      .mbstd_group = set.mbstd_group.value_or(fitting_group(set.usual_group.value_or(p.mbstd_group), o.batch_gpu)),
      .mbstd_channels = set.mbstd_channels.value_or(1),
      .conv_clamp = set.conv_clamp.value_or(-1),
      .activation_type = o.model.activation_type,
      .seed = o.seed};
  o.loss = {.r1_gamma = set.gamma.value_or(p.gamma),
            .pl_weight = set.pl_weight.value_or(p.pl_weight),
            .style_mixing = set.style_mixing.value_or(p.style_mixing)};
  o.lr = set.lr.value_or(p.lr);
  o.kimg = set.kimg.value_or(p.kimg);
  o.ema_kimg = set.ema_kimg.value_or(p.ema_kimg);
  o.ema_ramp = o.init.empty() ? p.ema_ramp : -1;
}

void apply_preset(TrainOptions& o, const Dataset& data, const PresetOverrides& set) {
  o.data.channels = data.channels();  // what the set decided, it decides once
  if (o.data.resize) std::tie(o.data.width, o.data.height) = std::pair(data.width(), data.height());
  o.dataset_size = data.size();
  o.class_counts = o.cond ? data.class_counts() : std::vector<int64_t>{};
  o.fingerprint = data.fingerprint();
  apply_preset(o, data.width(), data.height(), data.channels(), o.cond ? data.num_classes() : 0, set);
}

void TrainOptions::check() const {
  const auto in_range = [](const char* option, double v, double least, double most = 1e15) {
    if (!std::isfinite(v) || v < least || v > most)
      throw ConfigError(fmt::format("{} {:g}: expected a number from {:g}{}", option, v, least,
                                    most < 1e15 ? fmt::format(" to {:g}", most) : std::string(" up")));
  };
  const auto above_zero = [](const char* option, double v) {
    require(std::isfinite(v) && v > 0, fmt::format("{} {:g}: expected a number above 0", option, v));
  };
  in_range("--batch", batch, 1);
  in_range("--batch-gpu", batch_gpu, 1);
  require(batch % batch_gpu == 0, fmt::format("--batch {} is not a multiple of --batch-gpu {}", batch, batch_gpu));
  in_range("--mbstd-group", model.mbstd_group, 1);
  require(batch_gpu % std::min(model.mbstd_group, batch_gpu) == 0,
          fmt::format("the batch at once ({}) is not a multiple of the minibatch-std group ({}); set --batch-gpu or "
                      "--mbstd-group",
                      batch_gpu, model.mbstd_group));
  require(is_utf8(data.path.string()) && is_utf8(init), "paths must be UTF-8, for they are kept as JSON");
  above_zero("--lr", lr);
  require(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1, "Adam's betas are from 0 to below 1");
  in_range("--kimg", kimg, 0);
  in_range("--ema-kimg", ema_kimg, 0);
  in_range("--gamma", loss.r1_gamma, 0);
  above_zero("--kimg-per-tick", kimg_per_tick);
  in_range("--snap", snap, 1);
  in_range("--pl-weight", loss.pl_weight, 0);
  in_range("--mixing", loss.style_mixing, 0, 1);
  in_range("--keep", keep, 0);
  in_range("--abort-after", abort_after, 1);
  require(grid_columns >= 0 && grid_columns <= 64 && grid_rows >= 0 && grid_rows <= 64, "--grid is at most 64x64");
  require(freeze.blocks == 0 || freeze.layers == 0,
          "--freeze-d and --freezed both count from D's input; give one of them");
  model.check();
  // Beyond these a broken file asks, not a user.
  require(model.z_dim <= 8192 && model.w_dim <= 8192 && model.channel_max <= 8192 && model.mapping_layers <= 64 &&
              model.c_dim <= 100000 && std::max(model.width, model.height) <= 8192,
          "the model is larger than anything that was meant");
}

}  // namespace firn
