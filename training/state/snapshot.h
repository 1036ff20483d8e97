// A snapshot is one safetensors file: a role's network under its name, its average's under NAME_ema; training state
// under state.*; the options, and the model by itself, as JSON in the metadata. Written whole or not at all.
#pragma once
#include <filesystem>
#include <string>

#include "io/safetensors.h"
#include "models/files.h"
#include "models/registry.h"
#include "training/state/state.h"

namespace firn {

// What of the options goes into a snapshot, which people publish: data and --init by file name alone.
TrainOptions published(TrainOptions options);

void save_snapshot(const std::filesystem::path& path, const TrainOptions& options, const TrainState& state);
// What it saves, sources included where options.embed_source says so.
SafetensorsFile snapshot_of(const TrainOptions& options, const TrainState& state);

// IoError when the file is not a snapshot.
TrainOptions snapshot_options(const std::map<std::string, std::string>& metadata, std::string_view name);
inline TrainOptions snapshot_options(const SafetensorsFile& file) { return snapshot_options(file.metadata, file.name); }

// How many images a snapshot had seen; -1: it cannot be read, or is not there.
int64_t images_seen(const std::filesystem::path& snapshot);

// IoError unless the file has exactly the tensors of networks of this model.
void check_networks(const ModelSpec& model, const SafetensorsFile& file, const std::vector<std::string>& prefixes);

// The state that was saved, bit for bit; `state` was made with the same model and freezing. What the file does not hold
// of a source stays as it is, and so does the role that joins.
void restore(TrainState& state, const SafetensorsFile& file, const std::string& joining = {});
// How far a run has come: counters, random numbers, the place in the data; and no network.
void restore_course(TrainState& state, const SafetensorsFile& file);

}  // namespace firn
