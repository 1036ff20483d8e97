// Feature networks on weights that a formula gives, as tests/golden/features.py has them.
#pragma once
#include <cmath>
#include <sstream>

#include "base/hash.h"
#include "models/features/features.h"
#include "tests/io/io_support.h"

namespace firn {

// As formula_numbers() of features.py.
inline std::vector<double> formula_numbers(const std::string& name, int64_t count) {
  std::vector<double> all;
  for (uint64_t i = 1; i <= uint64_t(count); ++i) {
    uint64_t z = hash_of(name) + i * 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    all.push_back(double((z ^ z >> 31) >> 11) * 0x1p-52 - 1);
  }
  return all;
}

inline const SafetensorsFile& golden_features() {
  static const SafetensorsFile file =
      read_safetensors(std::filesystem::path(FIRN_TEST_DATA) / "golden" / "features.safetensors");
  return file;
}

inline StoredTensor formula_weight(const std::string& name, const std::vector<int64_t>& shape, bool wide) {
  std::vector<double> values = formula_numbers(name, count(shape));
  const double scale = shape.size() > 1 ? std::sqrt(6 / double(count(shape) / shape[0])) : 0;
  for (double& v : values)
    if (name.starts_with("lin")) {
      v = std::abs(v);
    } else if (shape.size() > 1) {
      v *= scale;
    } else if (name.ends_with("running_var")) {
      v = 1 + 0.5 * v;
    } else {
      v = name.ends_with("weight") ? 1 + 0.2 * v : 0.1 * v;
    }
  if (wide) return StoredTensor::of(std::span<const double>(values), shape);
  return StoredTensor::of(std::vector<float>(values.begin(), values.end()), shape);
}

// Tensors of the shapes of a network, without values.
inline SafetensorsFile formula_shapes(const std::string& key) {
  SafetensorsFile file{.tensors = {}, .metadata = {}, .name = key};
  std::istringstream lines(golden_features().metadata.at(key));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    std::vector<int64_t> shape;
    for (int64_t d; words >> d;) shape.push_back(d);
    file.tensors[name].shape = shape;
  }
  return file;
}

inline SafetensorsFile formula_weights(const std::string& key, DType type = DType::f32) {
  SafetensorsFile file = formula_shapes(key);
  for (auto& [name, tensor] : file.tensors) tensor = formula_weight(name, tensor.shape, type == DType::f64);
  return file;
}

inline std::unique_ptr<FeatureNetwork> formula_network(const std::string& key, FeatureOptions options = {}) {
  const std::string name = key.substr(0, key.find_first_of("/ "));
  return feature_model(name).make(formula_weights(key, options.type), options, Device::cpu());
}

inline Tensor formula_images(const std::string& name, int64_t n, int64_t size, DType type, double scale = 127.5,
                             double shift = 127.5) {
  std::vector<double> values = formula_numbers(name, n * size * size * 3);
  for (double& v : values) v = v * scale + shift;
  return Tensor::from(values, {n, size, size, 3}, type == DType::f64 ? type : DType::f32, Device::cpu());
}

}  // namespace firn
