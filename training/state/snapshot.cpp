#include "training/state/snapshot.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "io/json.h"
#include "models/files.h"

namespace firn {
namespace {

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
  for (Role& role : s.roles) {
    if (!role.adam) continue;
    for_each_moment(*role.adam, role.in_files,
                    [&](const Parameter& p, const std::string& key) { file.tensors[key] = stored(p); });
    file.tensors[fmt::format("state.{}.step", role.in_files)] = numbers({role.adam->step_count()});
  }
  for (const auto& [name, value] : s.scalars)
    file.tensors["state." + name] = stored(Parameter(name, value, ParameterKind::buffer));
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

TrainOptions published(TrainOptions options) {
  options.data.path = file_name(options.data.path);
  options.init = file_name(options.init).string();
  for (std::string& file : options.metrics.features) file = file_name(file).string();
  return options;
}

SafetensorsFile snapshot_of(const TrainOptions& options, const TrainState& state) {
  SafetensorsFile file;
  for (const Role& role : state.roles) {
    if (!role.source_of.empty() && !options.embed_source) continue;
    store_network(file, *role.network, role.in_files);
    if (role.average) store_network(file, *role.average, role.average_name());
  }
  store_state(file, const_cast<TrainState&>(state));  // Adam hands out its moments for writing only
  file.metadata = {{"format", snapshot_format},
                   {"options", to_json(published(options)).dump()},
                   {"model", to_json(options.model).dump()}};
  return file;
}

void save_snapshot(const std::filesystem::path& path, const TrainOptions& options, const TrainState& state) {
  write_safetensors(path, snapshot_of(options, state));
}

TrainOptions snapshot_options(const std::map<std::string, std::string>& metadata, std::string_view name) {
  const auto format = metadata.find("format"), options = metadata.find("options");
  if (format == metadata.end() || format->second != snapshot_format || options == metadata.end())
    throw IoError(fmt::format("{}: not a snapshot (no {} in its metadata)", name, snapshot_format));
  return train_options_from_json(parse_json(options->second, name, {.depth = 8, .values = 1 << 20}), name);
}

int64_t images_seen(const std::filesystem::path& snapshot) try {
  const auto counters = read_safetensors(snapshot).at("state.counters").to_doubles();
  return counters.empty() ? -1 : int64_t(counters[0]);
} catch (const SystemError&) {
  throw;
} catch (const IoError&) {
  return -1;
}

void check_networks(const ModelSpec& model, const SafetensorsFile& file, const std::vector<std::string>& prefixes) {
  const ShapesOnly shapes;
  const auto g = make_generator(model, Device::cpu());
  const auto d = make_discriminator(model, Device::cpu());
  for (const std::string& prefix : prefixes)
    if (prefix != "D" || has_network(file, prefix))  // a method may have put in one of another kind
      check_network(prefix == "D" ? static_cast<const Network&>(*d) : *g, file, prefix);
}

void restore(TrainState& s, const SafetensorsFile& file, const std::string& joining) {
  for (Role& role : s.roles) {
    if (role.name == joining) continue;
    if (!role.source_of.empty() && !has_network(file, role.name)) continue;
    load_network(*role.network, file, role.in_files);
    if (role.average) load_network(*role.average, file, role.average_name());
    if (!role.adam) continue;
    for_each_moment(*role.adam, role.in_files, [&](const Parameter& p, const std::string& key) { load(p, file, key); });
    const int64_t step = numbers(file, fmt::format("state.{}.step", role.in_files), 1)[0];
    if (step < 0) throw IoError(fmt::format("{}: a negative count of steps", file.name));
    role.adam->set_step_count(step);
  }
  for (const auto& [name, value] : s.scalars)
    if (joining.empty() || !name.starts_with(joining + "_"))
      load(Parameter(name, value, ParameterKind::buffer), file, "state." + name);
  restore_course(s, file);
}

void restore_course(TrainState& s, const SafetensorsFile& file) {
  const auto rng = numbers(file, "state.rng", 2), data = numbers(file, "state.data", 2),
             c = numbers(file, "state.counters", 5);
  for (const int64_t value : {data[0], data[1], c[0], c[1], c[2], c[3], c[4]})
    if (value < 0) throw IoError(fmt::format("{}: a negative counter", file.name));
  s.rng = {.seed = uint64_t(rng[0]), .offset = uint64_t(rng[1])};
  s.data = {.epoch = data[0], .index = data[1]};
  s.counters = {.images = c[0], .iteration = c[1], .tick = c[2], .tick_start = c[3], .repaired = c[4]};
  s.repaired_before = c[4] - s.repaired_here();
  s.stats.set(restored_stats(file));
}

}  // namespace firn
