// gan-train's command line, and what it means for a new run and for one that is resumed.
#pragma once
#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "kernels/core/types.h"
#include "training/config.h"
#include "training/reals.h"

namespace firn::tools {

struct TrainArguments {
  std::string outdir, run_name, data, resume, init, classes, resolution, g_arch, d_arch, grid, precision, folder,
      plan_for;
  std::string cfg = "auto", device = "auto", data_memory = "auto", background = "white";
  std::optional<double> tick;
  std::optional<int> snap, keep, abort_after;
  std::optional<uint64_t> seed;
  int64_t subset = 0;
  int channels = 0, threads = 0, workers = 2;
  bool cond = false, mirror = false, resize = false, dry_run = false, cache_features = false, no_cache_features = false,
       folder_classes = false, fp32 = false, bf16 = false, deterministic = false, init_partial = false,
       data_changed = false;
  FreezeOptions freeze;
  PresetOverrides set;
};

void add_options(CLI::App& app, TrainArguments& a);
void check_contradictions(const CLI::App& app, const TrainArguments& a);

std::optional<DType> asked_precision(const TrainArguments& a);  // what the user asked for, or nothing
DataMemory data_memory(const std::string& name);

// All but what depends on the data (apply_preset).
TrainOptions fresh_options(TrainArguments& a, const Device& device);

// The options of the snapshot, with those replaced that may change; another model or data is a contradiction.
TrainOptions resumed_options(const CLI::App& app, const TrainArguments& a, TrainOptions options);

}  // namespace firn::tools
