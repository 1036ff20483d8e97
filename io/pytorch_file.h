// Weights as Python programs keep them: as torch.save writes them, today (a zip) and before 2020 (pickles, then raw
// data), and pickles of modules and arrays. Nothing in the file is run (io/pickle.h), and every size is held against
// the file before memory is spent.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "io/safetensors.h"

namespace firn {

struct PythonFile : SafetensorsFile {         // metadata: the plain values, by the same names
  std::vector<std::string> passed_over = {};  // "cvD: vision_aided_loss.Discriminator": what is neither
};

// Names as name_tree() (io/python_tree.h) gives them. IoError for what is no such file, or holds no tensors.
PythonFile read_pytorch(const std::filesystem::path& path);
PythonFile parse_pytorch(std::span<const std::byte> bytes, std::string_view name);

// {"G_ema": {"mapping.fc0.weight": tensor, ...}, ...}, and the metadata as texts beside them. Atomic.
void write_pytorch(const std::filesystem::path& path, const SafetensorsFile& file);

}  // namespace firn
