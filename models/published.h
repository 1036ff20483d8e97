// Networks from files of other programs, under our names. How each of them names a model's tensors stands beside the
// model (FileFormat in its row of the registry).
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "models/registry.h"

namespace firn {

struct PublishedNetworks {
  SafetensorsFile file;  // G, D and G_ema, those there are, described by its metadata where it was not ours
  std::string format;    // whose names it had; empty: ours
  std::vector<std::string> passed_over;  // "cvD: vision_aided_loss.Discriminator", "augment_pipe.p"
};

// Any file of networks: our snapshots, safetensors, files of PyTorch, pickles, NumPy archives. IoError for what is none
// of that.
PublishedNetworks read_published(const std::filesystem::path& path);
SafetensorsFile read_networks(const std::filesystem::path& path);  // the same, of which only the networks matter

// From two files of one model, one of which has only G, the other only D.
SafetensorsFile merged(SafetensorsFile a, SafetensorsFile b);

// --- for formats
bool any_starts(const SafetensorsFile& file, std::string_view prefix);
// Gives each tensor the name that `name_of` makes of it; without one it is dropped.
void rename(SafetensorsFile& file, const std::function<std::string(const std::string&)>& name_of);
StoredTensor permuted(const StoredTensor& t, const std::vector<size_t>& axes);  // shape[i] = t.shape[axes[i]]
StoredTensor flipped(const StoredTensor& t, const std::vector<size_t>& axes);   // the other way around along these

}  // namespace firn
