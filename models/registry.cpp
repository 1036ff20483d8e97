#include "models/registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/option_json.h"
#include "base/text.h"
#include "io/json.h"
#include "models/files.h"
#include "models/sngan/files.h"
#include "models/stylegan/files.h"
#include "models/stylegan2/files.h"

namespace firn {
namespace {

std::vector<Model>& table() {
  static std::vector<Model> all = {stylegan2_model(), sngan_model(), stylegan_model()};
  return all;
}

nlohmann::json parsed(const std::string& text, const std::string& name) {
  return parse_json(text, name, {.depth = 8, .values = 1 << 20});
}

// The parts of a run's options that describe its networks; in files without a run `model` stands alone.
void read_description(const SafetensorsFile& file, SourceModel& source) {
  nlohmann::json model;
  if (const auto options = file.metadata.find("options"); options != file.metadata.end()) {
    const nlohmann::json run = parsed(options->second, file.name);
    if (const auto it = run.find("model"); it != run.end()) model = *it;
    try {
      if (const auto it = run.find("class_counts"); it != run.end()) it->get_to(source.class_counts);
    } catch (const nlohmann::json::exception& e) {
      throw IoError(fmt::format("{}: the options cannot be read: {}", file.name, e.what()));
    }
  }
  if (const auto own = file.metadata.find("model"); model.is_null() && own != file.metadata.end())
    model = parsed(own->second, file.name);
  if (!model.is_object()) throw IoError(fmt::format("{}: its metadata says nothing of a model", file.name));
  source.model = model_from_json(model, file.name);
  const std::vector<int64_t>& counts = source.class_counts;
  if (!counts.empty() &&
      (std::ssize(counts) != source.model.classes() || std::ranges::min(counts) < 0 || std::ranges::max(counts) == 0))
    throw IoError(fmt::format("{}: class_counts are not those of {} classes", file.name, source.model.classes()));
}

void check_networks(const SafetensorsFile& file, const SourceModel& source) {
  const ShapesOnly shapes;
  for (const char* name : {"G", "G_ema"})
    if (has_network(file, name)) check_network(*make_generator(source.model, Device::cpu()), file, name);
  if (source.d) check_network(*make_discriminator(source.model, Device::cpu()), file, "D");
}

bool known(const SourceModel& source, Told told) {
  switch (told) {
    case Told::by_g:
      return source.g;
    case Told::by_d:
      return source.d;
    case Told::by_either:
      return true;
    case Told::by_description:
      return source.described;
    case Told::nowhere:
      return false;
  }
  return false;
}

}  // namespace

const std::vector<Model>& models() { return table(); }
void add_model(Model model) { table().push_back(std::move(model)); }

const Model& model(std::string_view kind) {
  std::vector<std::string> kinds;
  for (const Model& m : table()) {
    if (m.kind == kind) return m;
    kinds.push_back(m.kind);
  }
  throw_no_name("model", std::string(kind), kinds);
}

std::unique_ptr<Generator> make_generator(const ModelSpec& spec, const Device& device) {
  return model(spec.kind()).generator(spec, device);
}

std::unique_ptr<Discriminator> make_discriminator(const ModelSpec& spec, const Device& device) {
  return model(spec.kind()).discriminator(spec, device);
}

nlohmann::json to_json(const ModelSpec& spec) {
  nlohmann::json json = options_to_json(spec);
  json["kind"] = spec.kind();
  return json;
}

ModelSpec model_from_json(const nlohmann::json& json, std::string_view name) {
  try {
    ModelSpec spec = model(json.value("kind", "stylegan2")).defaults();
    options_from_json(json, spec);
    spec.check();
    return spec;
  } catch (const nlohmann::json::exception& e) {
    throw IoError(fmt::format("{}: the options cannot be read: {}", name, e.what()));
  } catch (const ConfigError& e) {
    throw IoError(fmt::format("{}: {}", name, e.what()));
  }
}

SourceModel source_model(const SafetensorsFile& file) {
  SourceModel source{.g = has_network(file, "G") || has_network(file, "G_ema"), .d = has_network(file, "D")};
  if (const auto format = file.metadata.find("format");
      (source.g || source.d) && format != file.metadata.end() && format->second == snapshot_format) {
    read_description(file, source);
    source.described = true;
    check_networks(file, source);  // before memory is spent on what the file only claims
    return source;
  }
  std::vector<std::string> titles;
  for (const Model& m : table()) {
    titles.push_back(m.title);
    if (!(source.g || source.d) || !m.recognise || !m.recognise(file, source)) continue;
    try {
      source.model.check();
    } catch (const ConfigError& e) {
      throw IoError(fmt::format("{}: by its tensors: {}", file.name, e.what()));
    }
    return source;
  }
  throw IoError(
      fmt::format("{}: no tensor of G, G_ema or D of a model that is known ({}), named as docs/formats.md says",
                  file.name, fmt::join(titles, ", ")));
}

std::string shape_differences(const SourceModel& source, const ModelSpec& model_here) {
  if (source.model.kind() != model_here.kind())
    return fmt::format("--model {} (here {})", source.model.kind(), model_here.kind());
  const Model& m = model(source.model.kind());
  ModelSpec there = source.model, here = m.aligned(model_here, there);
  const auto size = [](const ImageShape& s) {
    return s.width == s.height ? fmt::to_string(s.width) : fmt::format("{}x{}", s.width, s.height);
  };
  std::vector<std::string> found;
  if (const std::string a = size(there.images()), b = size(here.images()); a != b)
    found.push_back(fmt::format("--resolution {} --resize (here {})", a, b));
  std::map<std::string, std::string> values;
  for_each_option(there, [&](const Option& o, const OptionValue& v) { values[o.key] = to_text(v); });
  for_each_option(here, [&](const Option& o, const OptionValue& v) {
    if (*o.flag && *o.shape && o.told != Told::by_description && known(source, o.told) && values[o.key] != to_text(v))
      found.push_back(fmt::format("{} {} (here {})", o.name(), values[o.key], to_text(v)));
  });
  const int a = there.classes(), b = here.classes();
  if (a > 0 && b == 0) found.push_back(fmt::format("{} classes (here none, without --cond)", a));
  if (a == 0 && b > 0) found.push_back(fmt::format("no classes (here {}, by --cond)", b));
  if (a > 0 && b > 0 && a != b) found.push_back(fmt::format("classes: {} (here {})", a, b));
  return fmt::format("{}", fmt::join(found, ", "));
}

std::string take_shape(ModelSpec& here, const SourceModel& source, const std::function<bool(const Option&)>& given) {
  if (source.model.kind() != here.kind()) return {};
  ModelSpec there = source.model;
  std::map<std::string, OptionValue> values;
  for_each_option(there, [&](const Option& o, const OptionValue& v) { values.emplace(o.key, v); });
  std::vector<std::string> taken;
  for_each_option(here, [&](const Option& o, const OptionValue& v) {
    if (!known(source, o.told) || given(o)) return;
    const std::string value = to_text(values.at(o.key));
    set_from_text(o, v, {value});
    if (*o.shape && !value.starts_with('-')) taken.push_back(fmt::format("{} {}", o.shape, value));
  });
  return fmt::format("{}", fmt::join(taken, ", "));
}

}  // namespace firn
