// A snapshot is one safetensors file: G.*, D.*, G_ema.* under NVIDIA's names in OIHW, with the constant buffers that
// other programs expect; training state under state.*; the options as JSON in the metadata. Written whole or not at
// all.
#pragma once
#include <filesystem>
#include <string>

#include "io/safetensors.h"
#include "training/state.h"

namespace firn {

inline constexpr const char* snapshot_format = "firn-1";

// What of the options goes into a snapshot, which people publish: data and --init by file name alone.
TrainOptions published(TrainOptions options);

void save_snapshot(const std::filesystem::path& path, const TrainOptions& options, const TrainState& state);

// IoError when the file is not a snapshot.
TrainOptions snapshot_options(const std::map<std::string, std::string>& metadata, std::string_view name);
inline TrainOptions snapshot_options(const SafetensorsFile& file) { return snapshot_options(file.metadata, file.name); }

// IoError unless the file has exactly the tensors of this network, by name and shape. Costs no memory for a network
// that was made under ShapesOnly.
void check_network(const Parameters& parameters, const SafetensorsFile& file, const std::string& prefix);
// The same of networks of this model that are not made yet.
void check_networks(const StyleGan2Options& model, const SafetensorsFile& file,
                    const std::vector<std::string>& prefixes = {"G", "D", "G_ema"});

// Loads every parameter and buffer from PREFIX.NAME. IoError unless names and shapes agree exactly.
void load_network(const Parameters& parameters, const SafetensorsFile& file, const std::string& prefix);

// The state that was saved, bit for bit; `state` was made with the same model and freezing.
void restore(TrainState& state, const SafetensorsFile& file);

// The tensor of one parameter as files hold it, and back. IoError for another shape, and for values that are not
// finite.
StoredTensor stored(const Parameter& parameter);
void load(const Parameter& parameter, const SafetensorsFile& file, const std::string& name);
void require_finite(const SafetensorsFile& file, const std::string& name);

}  // namespace firn
