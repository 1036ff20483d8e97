#include "models/files.h"

#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/text.h"

namespace firn {
namespace {

// to[o,b,a] = from[o,a,b]: OKKI to OIHW with a = pixels, b = channels, and back with the two exchanged.
template <class T>
std::vector<T> swap_inner(std::span<const T> from, int64_t outer, int64_t a, int64_t b) {
  std::vector<T> to(from.size());
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < a; ++i)
      for (int64_t j = 0; j < b; ++j)
        to[static_cast<size_t>((o * b + j) * a + i)] = from[static_cast<size_t>((o * a + i) * b + j)];
  return to;
}

template <class T>
std::vector<T> values_of(const Tensor& t) {
  if constexpr (std::is_same_v<T, float>)
    return t.to_floats();
  else
    return t.to_doubles();
}

}  // namespace

Shape file_shape(const Parameter& parameter) {
  const Shape& s = parameter.value().shape();
  return s.size() == 4 ? Shape{s[0], s[3], s[1], s[2]} : s;
}

template <class T>
std::vector<T> to_file_order(const Parameter& parameter) {
  const Tensor& value = parameter.value();
  std::vector<T> values = values_of<T>(value);
  if (value.rank() != 4) return values;
  return swap_inner<T>(values, value.dim(0), value.dim(1) * value.dim(2), value.dim(3));
}

template <class T>
void load_file_order(const Parameter& parameter, std::span<const T> values) {
  Tensor value = parameter.value();
  if (static_cast<int64_t>(values.size()) != value.count())
    throw ShapeError(
        fmt::format("{}: {} values for shape {}", parameter.name(), values.size(), to_string(file_shape(parameter))));
  std::vector<T> swapped;
  if (value.rank() == 4) {
    swapped = swap_inner<T>(values, value.dim(0), value.dim(3), value.dim(1) * value.dim(2));
    values = swapped;
  }
  value.copy_from(Tensor::from(values, value.shape(), value.type(), value.device()));
}

template std::vector<float> to_file_order(const Parameter&);
template std::vector<double> to_file_order(const Parameter&);
template void load_file_order(const Parameter&, std::span<const float>);
template void load_file_order(const Parameter&, std::span<const double>);

StoredTensor stored(const Parameter& parameter) {
  if (parameter.value().type() == DType::f64)
    return StoredTensor::of(std::span<const double>(to_file_order<double>(parameter)), file_shape(parameter));
  return StoredTensor::of(std::span<const float>(to_file_order<float>(parameter)), file_shape(parameter));
}

static void check_shape(const Parameter& parameter, const SafetensorsFile& file, const std::string& name) {
  const StoredTensor& tensor = file.at(name);
  if (tensor.shape != file_shape(parameter))
    throw IoError(fmt::format("{}: {} is {}, expected {}", file.name, name, to_string(tensor.shape),
                              to_string(file_shape(parameter))));
}

void load(const Parameter& parameter, const SafetensorsFile& file, const std::string& name) {
  check_shape(parameter, file, name);
  require_finite(file, name);
  const StoredTensor& tensor = file.at(name);
  if (tensor.dtype == "F64")
    load_file_order<double>(parameter, tensor.to_doubles());
  else
    load_file_order<float>(parameter, tensor.to_floats());
}

void require_finite(const SafetensorsFile& file, const std::string& name) {
  for (const double v : file.at(name).to_doubles())
    if (!(std::abs(v) <= std::numeric_limits<float>::max()))  // doubles, too, that would become infinite
      throw IoError(fmt::format("{}: {} has values that are not finite ({})", file.name, name, v));
}

bool has_network(const SafetensorsFile& file, const std::string& prefix) {
  const auto it = file.tensors.lower_bound(prefix + ".");
  return it != file.tensors.end() && it->first.starts_with(prefix + ".");
}

void store_network(SafetensorsFile& file, const Network& network, const std::string& prefix) {
  for (const Parameter& p : network.parameters()) file.tensors[prefix + "." + p.name()] = stored(p);
  for (const std::string& name : network.constant_names()) file.tensors[prefix + "." + name] = *network.constant(name);
}

static void check_constant(const StoredTensor& want, const SafetensorsFile& file, const std::string& name) {
  const StoredTensor& there = file.at(name);
  bool same = there.shape == want.shape;
  if (same) {
    const std::vector<double> values = there.to_doubles(), wanted = want.to_doubles();
    for (size_t i = 0; i < wanted.size(); ++i) same &= std::abs(values[i] - wanted[i]) < 1e-6;
  }
  if (!same)
    throw IoError(fmt::format("{}: {} is not the constant that this network has, the only one supported", file.name,
                              printable(name)));
}

static bool may_lack(const Parameter& p) { return p.buffer() && p.addition(); }

void check_network(const Network& network, const SafetensorsFile& file, const std::string& prefix) {
  std::set<std::string> expected;
  for (const Parameter& p : network.parameters()) {
    const auto [name, added] = expected.insert(prefix + "." + p.name());
    if (!may_lack(p) || file.contains(*name)) check_shape(p, file, *name);
  }
  for (auto it = file.tensors.lower_bound(prefix + ".");
       it != file.tensors.end() && it->first.starts_with(prefix + "."); ++it) {
    if (expected.contains(it->first)) continue;
    const StoredTensor* constant = network.constant(it->first.substr(prefix.size() + 1));
    if (!constant) throw IoError(fmt::format("{}: {} is not part of this network", file.name, printable(it->first)));
    check_constant(*constant, file, it->first);
  }
}

bool load_network(const Network& network, const SafetensorsFile& file, const std::string& prefix) {
  check_network(network, file, prefix);
  bool whole = true;
  for (const Parameter& p : network.parameters()) {
    const std::string name = prefix + "." + p.name();
    const bool lacks = may_lack(p) && !file.contains(name);
    whole &= !lacks;
    if (!lacks) load(p, file, name);
  }
  return whole;
}

}  // namespace firn
