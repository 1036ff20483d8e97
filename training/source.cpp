#include "training/source.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "io/files.h"
#include "training/snapshot.h"

namespace firn {
namespace {

// Shapes of one network's tensors, read without trust.
class Shapes {
 public:
  Shapes(const SafetensorsFile& file, std::string network) : file_(file), network_(std::move(network)) {}

  bool has(const std::string& name) const { return file_.contains(network_ + "." + name); }
  int dim(const std::string& name, size_t i, size_t rank) const {
    const std::vector<int64_t>& shape = file_.at(network_ + "." + name).shape;
    if (shape.size() != rank || std::ranges::any_of(shape, [](int64_t d) { return d < 1 || d > 100'000; }))
      refuse(name, shape);
    return int(shape[i]);
  }
  int conv(const std::string& name) const {  // its channels, as many in as out
    const int channels = dim(name, 0, 4);
    if (const auto& shape = file_.at(network_ + "." + name).shape;
        shape != std::vector<int64_t>{channels, channels, 3, 3})
      refuse(name, shape);
    return channels;
  }
  // The sizes 4, 8, ... of the blocks that hold this layer.
  std::vector<int> blocks(const char* pattern, int first) const {
    std::vector<int> sizes;
    for (int size = first; size <= 1024 && has(fmt::format(fmt::runtime(pattern), size)); size *= 2)
      sizes.push_back(size);
    return sizes;
  }

 private:
  [[noreturn]] void refuse(const std::string& name, const std::vector<int64_t>& shape) const {
    throw IoError(fmt::format("{}: {}.{} is {}, which no StyleGAN2 has", file_.name, network_, name, to_string(shape)));
  }

  const SafetensorsFile& file_;
  std::string network_;
};

[[noreturn]] void throw_no_stylegan2(const SafetensorsFile& file, std::string_view why) {
  throw IoError(
      fmt::format("{}: {}; G, G_ema and D of a StyleGAN2 are expected, named as docs/formats.md says", file.name, why));
}

// base and max from channels(size) = min(base / size, max). What is ambiguous has the smallest base.
void set_channels(StyleGan2Options& m, const std::map<int, int>& channels, const SafetensorsFile& file) {
  m.channel_max = 0;
  m.channel_base = 0;
  for (const auto& [size, count] : channels) m.channel_max = std::max(m.channel_max, count);
  for (const auto& [size, count] : channels) m.channel_base = std::max(m.channel_base, count * size);
  for (const auto& [size, count] : channels)
    if (m.channels(size) != count)
      throw IoError(fmt::format("{}: {} channels at size {} do not follow the rule min(base / size, max)", file.name,
                                count, size));
}

void read_g(const Shapes& g, const SafetensorsFile& file, StyleGan2Options& m) {
  const std::vector<int> blocks = g.blocks("synthesis.b{}.conv1.weight", 4);
  if (blocks.size() < 2) throw_no_stylegan2(file, "its generator has no synthesis.b4.conv1 and b8.conv1");
  const int last = blocks.back();
  const std::string top = fmt::format("synthesis.b{}.", last);
  m.height = g.dim("synthesis.b4.const", 1, 3) * (last / 4);
  m.width = g.dim("synthesis.b4.const", 2, 3) * (last / 4);
  m.img_channels = g.dim(top + "torgb.weight", 0, 4);
  m.w_dim = g.dim("mapping.fc0.weight", 0, 2);
  m.z_dim = g.dim("mapping.fc0.weight", 1, 2);
  m.c_dim = 0;
  if (g.has("mapping.embed.weight")) {
    m.c_dim = g.dim("mapping.embed.weight", 1, 2);
    m.z_dim -= g.dim("mapping.embed.weight", 0, 2);
  }
  m.mapping_layers = 1;
  while (g.has(fmt::format("mapping.fc{}.weight", m.mapping_layers))) ++m.mapping_layers;
  m.g_architecture = g.has("synthesis.b4.torgb.weight")  ? Architecture::skip
                     : g.has("synthesis.b8.skip.weight") ? Architecture::resnet
                                                         : Architecture::orig;
  std::map<int, int> channels;
  for (const int size : blocks) channels[size] = g.conv(fmt::format("synthesis.b{}.conv1.weight", size));
  set_channels(m, channels, file);
}

void read_d(const Shapes& d, const SafetensorsFile& file, StyleGan2Options& m, bool alone) {
  const std::vector<int> blocks = d.blocks("b{}.conv0.weight", 8);
  if (blocks.empty()) throw_no_stylegan2(file, "its discriminator has no b8.conv0");
  const int last = blocks.back(), top = d.dim("b4.conv.weight", 0, 4);
  m.mbstd_channels = std::max(1, d.dim("b4.conv.weight", 1, 4) - top);
  m.d_architecture = d.has("b8.skip.weight")      ? Architecture::resnet
                     : d.has("b4.fromrgb.weight") ? Architecture::skip
                                                  : Architecture::orig;
  if (!alone) return;
  m.height = m.width = last;
  m.img_channels = d.dim(fmt::format("b{}.fromrgb.weight", last), 1, 4);
  m.c_dim = d.has("mapping.embed.weight") ? d.dim("mapping.embed.weight", 1, 2) : 0;
  std::map<int, int> channels = {{4, top}};
  for (const int size : blocks) channels[size] = d.conv(fmt::format("b{}.conv0.weight", size));
  set_channels(m, channels, file);
}

}  // namespace

bool has_network(const SafetensorsFile& file, const std::string& name) {
  const auto it = file.tensors.lower_bound(name + ".");
  return it != file.tensors.end() && it->first.starts_with(name + ".");
}

SourceModel source_model(const SafetensorsFile& file) {
  const bool g = has_network(file, "G");
  SourceModel source{
      .g = g || has_network(file, "G_ema"), .d = has_network(file, "D"), .described = false, .options = {}};
  if (!source.g && !source.d) throw_no_stylegan2(file, "no tensor of G, G_ema or D");
  if (const auto format = file.metadata.find("format");
      format != file.metadata.end() && format->second == snapshot_format) {
    source.options = snapshot_options(file);
    source.described = true;
    std::vector<std::string> networks;
    for (const char* network : {"G", "G_ema", "D"})
      if (has_network(file, network)) networks.push_back(network);
    check_networks(source.options.model, file, networks);  // before memory is spent on what the file only claims
    return source;
  }
  if (source.g) read_g(Shapes(file, g ? "G" : "G_ema"), file, source.options.model);
  if (source.d) read_d(Shapes(file, "D"), file, source.options.model, !source.g);
  try {
    source.options.model.check();
  } catch (const ConfigError& e) {
    throw IoError(fmt::format("{}: by its tensors: {}", file.name, e.what()));
  }
  return source;
}

std::string take_shape(PresetOverrides& set, const SourceModel& source) {
  const StyleGan2Options& m = source.model();
  std::vector<std::string> taken;
  const auto take = [&](auto& to, const auto& value, const auto& name) {
    if (to) return;
    to = value;
    taken.push_back(fmt::format("{} {}", name, value));
  };
  const auto take_architecture = [&](std::optional<Architecture>& to, Architecture value, const char* network) {
    if (to) return;
    to = value;
    taken.push_back(fmt::format("{} {}", network, name_of(value)));
  };
  if (source.g) take(set.map_depth, m.mapping_layers, "mapping depth");
  take(set.channel_base, m.channel_base, "channel base");
  take(set.channel_max, m.channel_max, "channel max");
  if (source.g) {
    take(set.z_dim, m.z_dim, "z");
    take(set.w_dim, m.w_dim, "w");
    take_architecture(set.g_architecture, m.g_architecture, "G");
  }
  if (source.d) take_architecture(set.d_architecture, m.d_architecture, "D");
  if (source.d) set.mbstd_channels = m.mbstd_channels;  // which no option sets
  if (source.described) {
    set.usual_group = m.mbstd_group;
    if (m.conv_clamp > 0) take(set.conv_clamp, m.conv_clamp, "clamp");
  }
  return fmt::format("{}", fmt::join(taken, ", "));
}

std::string shape_differences(const SourceModel& source, const StyleGan2Options& model) {
  const StyleGan2Options& s = source.model();
  std::vector<std::string> found;
  const auto compare = [&](bool known, const auto& there, const auto& here, const char* option) {
    if (known && there != here) found.push_back(fmt::format("{} {} (here {})", option, there, here));
  };
  const auto size = [](const StyleGan2Options& o) {
    const int width = o.width ? o.width : o.height;
    return width == o.height ? fmt::to_string(width) : fmt::format("{}x{}", width, o.height);
  };
  if (size(s) != size(model) && (source.g || s.blocks() != model.blocks()))
    found.push_back(fmt::format("--resolution {} --resize (here {})", size(s), size(model)));
  compare(source.g, s.mapping_layers, model.mapping_layers, "--map-depth");
  const std::vector<int> blocks = s.blocks();
  const auto same_channels = [&](int block) { return s.channels(block) == model.channels(block); };
  if (!std::ranges::all_of(blocks, same_channels)) {
    compare(true, s.channel_base, model.channel_base, "--channel-base");
    compare(true, s.channel_max, model.channel_max, "--channel-max");
  }
  compare(source.g, s.z_dim, model.z_dim, "--z-dim");
  compare(source.g, s.w_dim, model.w_dim, "--w-dim");
  compare(source.g, std::string(name_of(s.g_architecture)), std::string(name_of(model.g_architecture)), "--g-arch");
  compare(source.d, std::string(name_of(s.d_architecture)), std::string(name_of(model.d_architecture)), "--d-arch");
  if (s.c_dim > 0 && model.c_dim == 0) found.push_back(fmt::format("{} classes (here none, without --cond)", s.c_dim));
  if (s.c_dim == 0 && model.c_dim > 0) found.push_back(fmt::format("no classes (here {}, by --cond)", model.c_dim));
  if (s.c_dim > 0 && model.c_dim > 0) compare(true, s.c_dim, model.c_dim, "classes:");
  return fmt::format("{}", fmt::join(found, ", "));
}

}  // namespace firn
