// The generator of a snapshot, for tools that only look at its images.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "models/registry.h"

namespace firn::tools {

struct LoadedGenerator {
  std::shared_ptr<Generator> g;
  SourceModel source;
  std::string weights;  // "G_ema" or "G"
};
// `snapshot`: a file, or a run folder with one. `weights`: G_ema or G; empty: G_ema where there is one. The other one
// where that is not there. IoError for a file without a generator.
LoadedGenerator load_generator(const std::filesystem::path& snapshot, const std::string& weights, DType activations,
                               const Device& device);

}  // namespace firn::tools
