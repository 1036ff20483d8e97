// Everything that decides what a run does, as one struct that goes to training_options.json and into each snapshot. An
// option is one row of a visit() (base/option.h).
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/any_options.h"
#include "io/dataset.h"
#include "models/freeze.h"
#include "models/spec.h"
#include "training/options/augment_options.h"
#include "training/options/metric_options.h"

namespace firn {

struct TrainOptions {
  DatasetOptions data;
  int64_t dataset_size = 0;           // images that `data` held when the run began, mirrored ones among them
  std::vector<int64_t> class_counts;  // of them each class had; empty: not conditional, or not known
  Fingerprint fingerprint;            // of `data`
  bool cond = false;
  std::string cfg = "auto";
  ModelSpec model;
  AnyOptions loss;  // of the objective that trains this model (training/objectives/objective.h)
  double lr = 0.002, beta1 = 0, beta2 = 0.99;
  double lr_decay_kimg = -1;  // from here on the rate falls in a line, to 0 at `kimg`; below 0: never
  double kimg = 25000, ema_kimg = 10, ema_ramp = -1;
  int batch = 32, batch_gpu = 32;
  uint64_t seed = 0;
  bool tf32 = false, deterministic = false;  // of products on a GPU (kernels/choice/provider_numerics.h)
  bool bf16_gradients = false;               // as processes send them to each other (engine/tree_sum.h)
  AugmentOptions augment;
  std::vector<std::string> method_names;  // --method: of the table in training/methods/method.cpp
  FreezeOptions freeze;
  std::vector<AnyOptions> methods;    // of the methods that have some
  bool cache_features = false;        // keep what the frozen front of D makes of the reals (training/step/reals.h)
  std::string init;                   // the snapshot that a transfer started from
  std::string init_sha256;            // of that file, where networks of it are needed when the run goes on
  std::string class_map;              // of its classes to those here (training/state/transfer.h)
  bool init_without_buffers = false;  // averages and power iterations are not taken from it
  bool legacy = false;                // methods do what published code does, errors included
  bool embed_source = false;          // snapshots hold what methods keep of it, instead of naming it

  MetricOptions metrics;
  double kimg_per_tick = 4;
  int snap = 50;                        // ticks
  int keep = 0;                         // snapshots; 0: all
  bool report = false;                  // renew report.html at each snapshot (training/report/page.h)
  int abort_after = 2;                  // ticks whose losses are not finite
  int grid_columns = 0, grid_rows = 0;  // 0: by image size and device

  static TrainOptions of(std::string_view model_kind);  // with the defaults of a model; ConfigError where there is none

  template <class O>
  O& method() {  // ConfigError where there is no such method
    for (AnyOptions& m : methods)
      if (m.kind() == O::kind) return m.as<O>();
    throw ConfigError(fmt::format("no method has options of {}", O::kind));
  }
  template <class O>
  const O& method() const {
    return const_cast<TrainOptions*>(this)->method<O>();
  }

  void visit(OptionVisitor& v);
  void check() const;  // ConfigError with the reason
};

nlohmann::json to_json(const TrainOptions& options);
TrainOptions train_options_from_json(const nlohmann::json& json, std::string_view name);  // IoError naming `name`

// "SIZE" or "WIDTHxHEIGHT" (`one_is_enough`), or "COLUMNSxROWS". ConfigError naming the option.
struct PairRules {
  int most;
  bool one_is_enough = false;
};
std::pair<int, int> parse_pair(const std::string& text, const char* option, PairRules rules);

}  // namespace firn
