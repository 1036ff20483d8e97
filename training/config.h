// Everything that decides what a run does, as one struct that goes to training_options.json and into each snapshot, and
// the named configurations that fill in what a user left open.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/dataset.h"
#include "models/freeze.h"
#include "training/phases.h"

namespace firn {

// One named configuration (Karras et al. 2020, arXiv 2006.06676, training configurations; one GPU).
struct Preset {
  std::string name;
  double kimg = 25000;
  int batch = 32, batch_gpu = 4, mbstd_group = 4;
  int channel_base = 32768, channel_max = 512;
  double lr = 0.002, gamma = 10;
  double ema_kimg = 10, ema_ramp = -1;  // < 0: no ramp
  int map_depth = 8;
  int z_dim = 512, w_dim = 512;
  double pl_weight = 2, style_mixing = 0.9;
  Architecture d_architecture = Architecture::resnet;
};

const std::vector<std::string>& preset_names();
Preset preset(std::string_view name, int resolution);  // the longer side; ConfigError for an unknown name

struct TrainOptions {
  DatasetOptions data;
  int64_t dataset_size = 0;           // images that `data` held when the run began, mirrored ones among them
  std::vector<int64_t> class_counts;  // of them each class had; empty: not conditional, or not known
  Fingerprint fingerprint;            // of `data`
  bool cond = false;
  std::string cfg = "auto";
  StyleGan2Options model;
  LossOptions loss;
  double lr = 0.002, beta1 = 0, beta2 = 0.99;
  double kimg = 25000, ema_kimg = 10, ema_ramp = -1;
  int batch = 32, batch_gpu = 32;
  uint64_t seed = 0;
  bool tf32 = false, deterministic = false;  // of products on a GPU (kernels/choice/provider_numerics.h)
  FreezeOptions freeze;
  bool cache_features = false;  // keep what the frozen front of D makes of the reals (training/reals.h)
  std::string init;             // the snapshot that a transfer started from

  double kimg_per_tick = 4;
  int snap = 50;                        // ticks
  int keep = 0;                         // snapshots; 0: all
  int abort_after = 2;                  // ticks whose losses are not finite
  int grid_columns = 0, grid_rows = 0;  // 0: by image size and device

  void check() const;  // ConfigError with the reason
};

// What the command line may set over a preset.
struct PresetOverrides {
  std::optional<double> kimg, lr, gamma, ema_kimg;
  std::optional<int> batch, batch_gpu, mbstd_group, channel_base, channel_max, map_depth, z_dim, w_dim;
  std::optional<int> usual_group;  // for minibatch-std, as far as the batch allows; mbstd_group insists
  std::optional<int> mbstd_channels;
  std::optional<Architecture> g_architecture, d_architecture;
  std::optional<double> pl_weight, style_mixing, conv_clamp;
};

// Fills in model, loss and schedule for images of this size. A transfer has no EMA ramp.
void apply_preset(TrainOptions& options, int width, int height, int channels, int classes,
                  const PresetOverrides& overrides);
void apply_preset(TrainOptions& options, const Dataset& data, const PresetOverrides& overrides);

nlohmann::json to_json(const TrainOptions& options);
TrainOptions train_options_from_json(const nlohmann::json& json, std::string_view name);  // IoError naming `name`

Architecture architecture_from_name(std::string_view name);  // ConfigError
const char* name_of(Architecture architecture);

}  // namespace firn
