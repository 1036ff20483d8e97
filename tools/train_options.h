// gan-train's command line, and what it means for a new run and for one that is resumed.
#pragma once
#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "training/options/overlay.h"
#include "training/step/reals.h"

namespace firn::tools {

struct TrainArguments {
  Overlay set;  // every option of a run that was given, by its row (base/option.h)
  // What is not a run's but this process's, or has a form of its own.
  std::string outdir, run_name, data, resume, init, source, model, precision, plan_for;
  std::string device = "auto", data_memory = "auto";
  int threads = 0, workers = 2;
  double timeout = 60;
  bool verify_processes = false;
  bool dry_run = false, no_cache_features = false, fp32 = false, bf16 = false, init_partial = false,
       data_changed = false;
};

void add_options(CLI::App& app, TrainArguments& a);
void check_contradictions(const CLI::App& app, const TrainArguments& a);

std::optional<DType> asked_precision(const TrainArguments& a);  // what the user asked for, or nothing
DataMemory data_memory(const std::string& name);

// All but what depends on the data (configure). `source`: of --init, or null.
TrainOptions fresh_options(const TrainArguments& a, const Device& device, const SourceModel* source);

// The options of the snapshot, with those replaced that may change; another model or data is a contradiction.
TrainOptions resumed_options(const TrainArguments& a, TrainOptions options);

}  // namespace firn::tools
