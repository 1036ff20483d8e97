// Writes networks as ONNX files: a graph of named values, of which each node makes one.
#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "io/safetensors.h"

namespace firn {

inline constexpr int onnx_opset = 13;

enum class OnnxType { f32 = 1, u8 = 2, i64 = 7 };  // as files number them

struct OnnxValue {
  std::string name;
  OnnxType type = OnnxType::f32;
  std::vector<int64_t> shape;  // -1: as large as the batch
};

using OnnxAttribute = std::variant<int64_t, float, std::string, std::vector<int64_t>>;

struct OnnxNode {
  std::string op;
  std::vector<std::string> inputs;  // "": left out
  std::string output;
  std::vector<std::pair<std::string, OnnxAttribute>> attributes = {};
};

struct OnnxGraph {
  std::string name;
  std::vector<OnnxValue> inputs, outputs;  // an input with an initializer may be left out: that is its value then
  std::vector<OnnxNode> nodes;             // each behind those that it takes values from
  std::vector<std::pair<std::string, StoredTensor>> initializers;  // F32 or I64
};

// IoError for more than the 2 GB that fit in such a file.
std::string onnx_bytes(const OnnxGraph& graph);
void write_onnx(const std::filesystem::path& path, const OnnxGraph& graph);  // atomic

}  // namespace firn
