// Weights as torch.save writes them, today (a zip) and before 2020 (pickles, then raw data): a state dict of tensors.
// Nothing in the file is run (io/pickle.h), and every size is held against the file before memory is spent.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "io/safetensors.h"

namespace firn {

// Dicts within dicts join their names with dots; what is no tensor is passed over. IoError for what is no such file.
SafetensorsFile read_pytorch(const std::filesystem::path& path);
SafetensorsFile parse_pytorch(std::span<const std::byte> bytes, std::string_view name);

// safetensors or a file of PyTorch, whichever it is.
SafetensorsFile read_weights(const std::filesystem::path& path);

}  // namespace firn
