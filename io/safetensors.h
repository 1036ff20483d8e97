// Named tensors in the safetensors format: an 8-byte length, a JSON header, raw little-endian data. The reader trusts
// nothing: a header that overlaps, overflows, leaves holes or lies about a size is an IoError naming file and tensor.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace firn {

struct StoredTensor {
  std::string dtype;  // "F32", "F64", "BF16", "F16", "I64", "I32", "U8"
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  int64_t count() const;  // elements; 1 for a scalar (empty shape)
  std::vector<float> to_floats() const;
  std::vector<double> to_doubles() const;

  // ShapeError unless the shape holds exactly as many elements as `values`.
  static StoredTensor of(std::span<const float> values, std::vector<int64_t> shape);
  static StoredTensor of(std::span<const double> values, std::vector<int64_t> shape);
  static StoredTensor of(std::span<const int64_t> values, std::vector<int64_t> shape);
  static StoredTensor of(std::span<const uint8_t> values, std::vector<int64_t> shape);
};

struct SafetensorsFile {
  std::map<std::string, StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
  std::string name = "<memory>";  // where it was read from, for messages

  const StoredTensor& at(const std::string& tensor) const;  // IoError when missing
  bool contains(const std::string& tensor) const { return tensors.contains(tensor); }
};

SafetensorsFile read_safetensors(const std::filesystem::path& path);
SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, std::string_view name);

// Atomic: the file is complete under its name, or the old one is still there.
void write_safetensors(const std::filesystem::path& path, const SafetensorsFile& file);
std::string safetensors_bytes(const SafetensorsFile& file);  // what such a file holds

}  // namespace firn
