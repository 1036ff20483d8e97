// Weights in any of the forms that programs keep them in.
#pragma once
#include <filesystem>

#include "io/pytorch_file.h"

namespace firn {

// safetensors, a file of PyTorch, a pickle or a NumPy archive, whichever it is. IoError for what is none of them.
PythonFile read_weights(const std::filesystem::path& path);
PythonFile parse_weights(std::span<const std::byte> bytes, std::string_view name);

}  // namespace firn
