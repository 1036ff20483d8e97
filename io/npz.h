// Arrays as numpy.save and numpy.savez write them. Nothing is run: arrays of Python objects are refused, and every size
// is held against the file before memory is spent.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "io/safetensors.h"

namespace firn {

// The arrays of a .npz, stored or deflated, under their names without .npy, which may have '/' in them; those in
// Fortran order are turned. Types: f2, f4, f8, i4, i8, u1 and b1 (as U8), little-endian. IoError for what is none of
// that.
SafetensorsFile read_npz(const std::filesystem::path& path);
SafetensorsFile parse_npz(std::span<const std::byte> bytes, std::string_view name);

StoredTensor read_npy(const std::filesystem::path& path);
StoredTensor parse_npy(std::span<const std::byte> bytes, std::string_view name);

// Atomic, not compressed. IoError for BF16, which numpy does not know.
void write_npz(const std::filesystem::path& path, const SafetensorsFile& file);

}  // namespace firn
