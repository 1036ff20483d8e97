// Networks in files: PREFIX.NAME for each parameter and buffer. A 4-D weight is [O,K,K,I] in memory and OIHW in files;
// all else is equal.
#pragma once
#include <span>
#include <vector>

#include "io/safetensors.h"
#include "models/network.h"

namespace firn {

Shape file_shape(const Parameter& parameter);

// T is float or double.
template <class T>
std::vector<T> to_file_order(const Parameter& parameter);

// ShapeError unless values.size() == parameter.count().
template <class T>
void load_file_order(const Parameter& parameter, std::span<const T> values);

// The tensor of one parameter as files hold it, and back. IoError for another shape, and for values that are not
// finite.
StoredTensor stored(const Parameter& parameter);
void load(const Parameter& parameter, const SafetensorsFile& file, const std::string& name);
void require_finite(const SafetensorsFile& file, const std::string& name);

bool has_network(const SafetensorsFile& file, const std::string& prefix);

void store_network(SafetensorsFile& file, const Network& network, const std::string& prefix);
// IoError unless the file has exactly the tensors of this network, own buffers or not, by name and shape. Costs no
// memory for a network that was made under ShapesOnly.
void check_network(const Network& network, const SafetensorsFile& file, const std::string& prefix);
// Loads every parameter and buffer. IoError as above. False: own buffers are not in the file, and stay as they are.
bool load_network(const Network& network, const SafetensorsFile& file, const std::string& prefix);

}  // namespace firn
