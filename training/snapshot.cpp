#include "training/snapshot.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "io/json.h"
#include "models/weights.h"

namespace firn {
namespace {

// Constants that a StyleGAN2 of NVIDIA's registers beside each convolution and in each block that resamples.
std::set<std::string> filter_names(const Parameters& parameters) {
  std::set<std::string> names;
  for (const Parameter& p : parameters) {
    const std::string& name = p.name();
    const size_t dot = name.rfind('.');
    const std::string layer = name.substr(0, dot);
    if (p.value().rank() == 4 && name.ends_with(".weight") && !layer.ends_with("torgb"))
      names.insert(layer + ".resample_filter");
    const bool of_g = name.starts_with("synthesis.b");
    if (!of_g && !name.starts_with("b")) continue;
    const std::string block = name.substr(0, name.find('.', of_g ? 10 : 0));
    if (block != "b4") names.insert(block + ".resample_filter");
  }
  return names;
}

StoredTensor filter() {
  constexpr float taps[] = {1, 3, 3, 1};
  std::vector<float> values;
  for (const float a : taps)
    for (const float b : taps) values.push_back(a * b / 64);
  return StoredTensor::of(std::span<const float>(values), {4, 4});
}

void check_filter(const SafetensorsFile& file, const std::string& name) {
  const StoredTensor& there = file.at(name);
  const std::vector<double> want = filter().to_doubles();
  bool same = there.shape == std::vector<int64_t>{4, 4};
  if (same) {
    const std::vector<double> values = there.to_doubles();
    for (size_t i = 0; i < want.size(); ++i) same &= std::abs(values[i] - want[i]) < 1e-6;
  }
  if (!same) throw IoError(fmt::format("{}: {} is not the filter [1,3,3,1], the only one supported", file.name, name));
}

void store_network(SafetensorsFile& file, const Parameters& parameters, const std::string& prefix) {
  for (const Parameter& p : parameters) file.tensors[prefix + "." + p.name()] = stored(p);
  for (const std::string& name : filter_names(parameters)) file.tensors[prefix + "." + name] = filter();
}

// Of a folder, too, where a slash ends its path.
std::filesystem::path file_name(const std::filesystem::path& path) {
  return path.has_filename() ? path.filename() : path.parent_path().filename();
}

StoredTensor numbers(const std::vector<int64_t>& values) {
  return StoredTensor::of(std::span<const int64_t>(values), {int64_t(values.size())});
}

std::vector<int64_t> numbers(const SafetensorsFile& file, const std::string& name, size_t count) {
  const StoredTensor& t = file.at(name);
  if (t.dtype != "I64" || t.shape != std::vector<int64_t>{int64_t(count)})
    throw IoError(fmt::format("{}: {} should hold {} integers", file.name, name, count));
  std::vector<int64_t> values(count);
  std::memcpy(values.data(), t.bytes.data(), t.bytes.size());
  return values;
}

// Moments as parameters of the same names, to use the same conversions.
template <class F>
void for_each_moment(Adam& adam, const std::string& network, F&& f) {
  for (size_t i = 0; i < adam.targets().size(); ++i) {
    const std::string& name = adam.targets()[i].name();
    if (adam.first_moment(i).defined())
      f(Parameter(name, adam.first_moment(i), ParameterKind::buffer), "state." + network + ".exp_avg." + name);
    f(Parameter(name, adam.second_moment(i), ParameterKind::buffer), "state." + network + ".exp_avg_sq." + name);
  }
}

void store_state(SafetensorsFile& file, TrainState& s) {
  s.count_repaired();
  for (auto [adam, name] : {std::pair{&s.g_adam, "G"}, {&s.d_adam, "D"}}) {
    for_each_moment(*adam, name, [&](const Parameter& p, const std::string& key) { file.tensors[key] = stored(p); });
    file.tensors[fmt::format("state.{}.step", name)] = numbers({adam->step_count()});
  }
  file.tensors["state.pl_mean"] = stored(Parameter("pl_mean", s.pl_mean, ParameterKind::buffer));
  file.tensors["state.rng"] = numbers({int64_t(s.rng.seed), int64_t(s.rng.offset)});
  file.tensors["state.data"] = numbers({s.data.epoch, s.data.index});
  const Counters& c = s.counters;
  file.tensors["state.counters"] = numbers({c.images, c.iteration, c.tick, c.tick_start, c.repaired});
  for (const auto& [name, stat] : s.stats.read()) {
    const double values[] = {double(stat.finite), double(stat.not_finite), stat.sum, stat.squares};
    file.tensors["state.stats." + name] = StoredTensor::of(std::span<const double>(values), {4});
  }
}

Stats restored_stats(const SafetensorsFile& file) {
  const std::string prefix = "state.stats.";
  Stats stats;
  for (const auto& [name, tensor] : file.tensors) {
    if (!name.starts_with(prefix)) continue;
    const std::vector<double> v = tensor.to_doubles();
    constexpr double most = 1e15;
    if (v.size() != 4 || !(v[0] >= 0 && v[0] < most && v[1] >= 0 && v[1] < most))
      throw IoError(fmt::format("{}: {} should hold two counts and two sums", file.name, printable(name)));
    stats[name.substr(prefix.size())] = {
        .finite = int64_t(v[0]), .not_finite = int64_t(v[1]), .sum = v[2], .squares = v[3]};
  }
  return stats;
}

}  // namespace

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

TrainOptions published(TrainOptions options) {
  options.data.path = file_name(options.data.path);
  options.init = file_name(options.init).string();
  return options;
}

void save_snapshot(const std::filesystem::path& path, const TrainOptions& options, const TrainState& state) {
  SafetensorsFile file;
  store_network(file, state.g.parameters(), "G");
  store_network(file, state.d.parameters(), "D");
  store_network(file, state.ema.parameters(), "G_ema");
  store_state(file, const_cast<TrainState&>(state));  // Adam hands out its moments for writing only
  file.metadata = {{"format", snapshot_format}, {"options", to_json(published(options)).dump()}};
  write_safetensors(path, file);
}

TrainOptions snapshot_options(const std::map<std::string, std::string>& metadata, std::string_view name) {
  const auto format = metadata.find("format"), options = metadata.find("options");
  if (format == metadata.end() || format->second != snapshot_format || options == metadata.end())
    throw IoError(fmt::format("{}: not a snapshot (no {} in its metadata)", name, snapshot_format));
  return train_options_from_json(parse_json(options->second, name, {.depth = 8, .values = 1 << 20}), name);
}

void check_network(const Parameters& parameters, const SafetensorsFile& file, const std::string& prefix) {
  std::set<std::string> expected;
  for (const Parameter& p : parameters) {
    expected.insert(prefix + "." + p.name());
    check_shape(p, file, prefix + "." + p.name());
  }
  for (auto it = file.tensors.lower_bound(prefix + ".");
       it != file.tensors.end() && it->first.starts_with(prefix + "."); ++it) {
    if (it->first.ends_with(".resample_filter"))
      check_filter(file, it->first);
    else if (!expected.contains(it->first))
      throw IoError(fmt::format("{}: {} is not part of this network", file.name, printable(it->first)));
  }
}

void check_networks(const StyleGan2Options& model, const SafetensorsFile& file,
                    const std::vector<std::string>& prefixes) {
  const ShapesOnly shapes;
  const StyleGan2Generator g(model, Device::cpu());
  const StyleGan2Discriminator d(model, Device::cpu());
  for (const std::string& prefix : prefixes)
    check_network(prefix == "D" ? d.parameters() : g.parameters(), file, prefix);
}

void load_network(const Parameters& parameters, const SafetensorsFile& file, const std::string& prefix) {
  check_network(parameters, file, prefix);
  for (const Parameter& p : parameters) load(p, file, prefix + "." + p.name());
}

void restore(TrainState& s, const SafetensorsFile& file) {
  load_network(s.g.parameters(), file, "G");
  load_network(s.d.parameters(), file, "D");
  load_network(s.ema.parameters(), file, "G_ema");
  for (auto [adam, name] : {std::pair{&s.g_adam, "G"}, {&s.d_adam, "D"}}) {
    for_each_moment(*adam, name, [&](const Parameter& p, const std::string& key) { load(p, file, key); });
    const int64_t step = numbers(file, fmt::format("state.{}.step", name), 1)[0];
    if (step < 0) throw IoError(fmt::format("{}: a negative count of steps", file.name));
    adam->set_step_count(step);
  }
  load(Parameter("pl_mean", s.pl_mean, ParameterKind::buffer), file, "state.pl_mean");
  const auto rng = numbers(file, "state.rng", 2), data = numbers(file, "state.data", 2),
             c = numbers(file, "state.counters", 5);
  for (const int64_t value : {data[0], data[1], c[0], c[1], c[2], c[3], c[4]})
    if (value < 0) throw IoError(fmt::format("{}: a negative counter", file.name));
  s.rng = {.seed = uint64_t(rng[0]), .offset = uint64_t(rng[1])};
  s.data = {.epoch = data[0], .index = data[1]};
  s.counters = {.images = c[0], .iteration = c[1], .tick = c[2], .tick_start = c[3], .repaired = c[4]};
  s.repaired_before = c[4] - s.g_adam.repaired() - s.d_adam.repaired();
  s.stats.set(restored_stats(file));
}

}  // namespace firn
