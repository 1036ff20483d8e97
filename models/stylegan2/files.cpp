#include "models/stylegan2/files.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "models/files.h"
#include "models/published.h"
#include "models/stylegan2/stylegan2.h"

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

// D.b4.conv, but not D.block1
bool has_block(const SafetensorsFile& file) {
  for (char digit = '1'; digit <= '9'; ++digit)
    if (any_starts(file, std::string("D.b") + digit)) return true;
  return false;
}

bool recognise(const SafetensorsFile& file, SourceModel& source) {
  if (!any_starts(file, "G.synthesis.") && !any_starts(file, "G_ema.synthesis.") && !has_block(file)) return false;
  StyleGan2Options m;
  if (source.g) read_g(Shapes(file, has_network(file, "G") ? "G" : "G_ema"), file, m);
  if (source.d) read_d(Shapes(file, "D"), file, m, !source.g);
  source.model = m;
  return true;
}

// Where both rules give the same channels, they are one rule.
ModelSpec aligned(const ModelSpec& here, const ModelSpec& there) {
  const StyleGan2Options& t = there.as<StyleGan2Options>();
  StyleGan2Options h = here.as<StyleGan2Options>();
  const std::vector<int> blocks = t.blocks();
  if (std::ranges::all_of(blocks, [&](int block) { return t.channels(block) == h.channels(block); })) {
    h.channel_base = t.channel_base;
    h.channel_max = t.channel_max;
  }
  return h;
}

}  // namespace

Model stylegan2_model() {
  return {.kind = std::string(StyleGan2Options::kind),
          .title = "StyleGAN2",
          .defaults = [] { return ModelSpec(StyleGan2Options{}); },
          .generator = [](const ModelSpec& spec, const Device& device) -> std::unique_ptr<Generator> {
            return std::make_unique<StyleGan2Generator>(spec.as<StyleGan2Options>(), device);
          },
          .discriminator = [](const ModelSpec& spec, const Device& device) -> std::unique_ptr<Discriminator> {
            return std::make_unique<StyleGan2Discriminator>(spec.as<StyleGan2Options>(), device);
          },
          .recognise = recognise,
          .aligned = aligned,
          .writers = {"*.torgb"},
          .readers = {"*.fromrgb"},
          .equalised = 1,
          .class_tensors = {{"*.mapping.embed.weight", ClassTensor::Kind::table, 1},
                            {"*.mapping.embed.bias", ClassTensor::Kind::other},
                            {"G.mapping.fc0.weight", ClassTensor::Kind::grown},
                            // D's mapping network and what its result is multiplied with
                            {"D.mapping.fc?.*", ClassTensor::Kind::other},
                            {"D.b4.out.*", ClassTensor::Kind::other}},
          .formats = {nvidia_pickle(), nvidia_names(), rosinality_names(), tensorflow_names()}};
}

}  // namespace firn
