#include "models/stylegan/files.h"

#include <fmt/format.h>

#include <algorithm>
#include <numbers>

#include "base/error.h"
#include "models/files.h"
#include "models/stylegan/layers.h"

namespace firn {
namespace {

// A size of a tensor, read without trust.
int dim(const SafetensorsFile& file, const std::string& name, size_t i, size_t rank) {
  const std::vector<int64_t>& shape = file.at(name).shape;
  if (shape.size() != rank || std::ranges::any_of(shape, [](int64_t d) { return d < 1 || d > 100'000; }))
    throw IoError(fmt::format("{}: {} is {}, which no StyleGAN has", file.name, name, to_string(shape)));
  return int(shape[i]);
}

// Channels at 4, 8, ...; `fused_from`: 0, if no convolution is fused, which below the published size says nothing.
void set_widths(StyleGanOptions& o, const std::vector<int>& channels, int fused_from, const SafetensorsFile& file) {
  o.height = 2 << channels.size();
  o.fused_from = fused_from ? fused_from : o.height < o.fused_from ? o.fused_from : 2 * o.height;
  o.channel_max = o.channel_base = 0;
  for (size_t i = 0; i < channels.size(); ++i) {
    o.channel_max = std::max(o.channel_max, channels[i]);
    o.channel_base = std::max(o.channel_base, channels[i] << (i + 2));
  }
  for (size_t i = 0; i < channels.size(); ++i)
    if (o.channels(4 << i) != channels[i])
      throw IoError(fmt::format("{}: {} channels at size {} do not follow the rule min(base / size, max)", file.name,
                                channels[i], 4 << i));
}

void read_g(const SafetensorsFile& file, const std::string& g, StyleGanOptions& o) {
  const auto block = [&](size_t i) { return fmt::format("{}.generator.progression.{}.", g, i); };
  std::vector<int> channels;
  int fused = 0;
  for (size_t i = 0; i < 9 && file.contains(block(i) + "conv2.conv.weight_orig"); ++i) {
    channels.push_back(dim(file, block(i) + "conv2.conv.weight_orig", 0, 4));
    if (!fused && file.contains(block(i) + "conv1.0.weight")) fused = 4 << i;
  }
  set_widths(o, channels, fused, file);
  o.img_channels = dim(file, fmt::format("{}.generator.to_rgb.{}.conv.weight_orig", g, channels.size() - 1), 0, 4);
  o.growing = channels.size() > 2 &&
              file.contains(fmt::format("{}.generator.to_rgb.{}.conv.weight_orig", g, channels.size() - 2));
  o.z_dim = dim(file, g + ".style.1.linear.weight_orig", 1, 2);
  for (o.mapping_layers = 1; file.contains(fmt::format("{}.style.{}.linear.weight_orig", g, 2 * o.mapping_layers + 1));)
    ++o.mapping_layers;
}

void read_d(const SafetensorsFile& file, StyleGanOptions& o) {
  std::vector<int> channels;
  int fused = 0;
  for (int number = 8; number >= 0; --number) {
    const std::string block = fmt::format("D.progression.{}.", number);
    if (!file.contains(block + "conv1.0.conv.weight_orig")) break;
    channels.push_back(dim(file, block + "conv1.0.conv.weight_orig", 1, 4) - (number == 8 ? 1 : 0));
    if (!fused && file.contains(block + "conv2.1.weight")) fused = 1024 >> number;
  }
  set_widths(o, channels, fused, file);
  o.growing = channels.size() > 2 && file.contains("D.from_rgb.7.0.conv.weight_orig");
  o.img_channels = dim(file, fmt::format("D.from_rgb.{}.0.conv.weight_orig", 10 - log2_of(o.height)), 1, 4);
}

bool recognise(const SafetensorsFile& file, SourceModel& source) {
  const std::string g = has_network(file, "G") ? "G" : "G_ema";
  const bool by_g = file.contains(g + ".generator.progression.0.conv1.input");
  if (!by_g && !file.contains("D.progression.8.conv1.0.conv.weight_orig")) return false;
  StyleGanOptions o;
  by_g ? read_g(file, g, o) : read_d(file, o);
  source.model = o;
  return true;
}

// Options that make the same networks are the same.
ModelSpec aligned(const ModelSpec& here, const ModelSpec& there) {
  const StyleGanOptions& t = there.as<StyleGanOptions>();
  StyleGanOptions h = here.as<StyleGanOptions>();
  const std::vector<int> sizes = t.sizes();
  if (std::ranges::all_of(sizes, [&](int size) { return t.channels(size) == h.channels(size); })) {
    h.channel_base = t.channel_base;
    h.channel_max = t.channel_max;
  }
  if (std::ranges::all_of(sizes, [&](int size) { return (size >= t.fused_from) == (size >= h.fused_from); }))
    h.fused_from = t.fused_from;
  return h;
}

}  // namespace

Model stylegan_model() {
  return {.kind = std::string(StyleGanOptions::kind),
          .title = "StyleGAN",
          .defaults = [] { return ModelSpec(StyleGanOptions{}); },
          .generator = [](const ModelSpec& spec, const Device& device) -> std::unique_ptr<Generator> {
            return std::make_unique<StyleGanGenerator>(spec.as<StyleGanOptions>(), device);
          },
          .discriminator = [](const ModelSpec& spec, const Device& device) -> std::unique_ptr<Discriminator> {
            return std::make_unique<StyleGanDiscriminator>(spec.as<StyleGanOptions>(), device);
          },
          .recognise = recognise,
          .aligned = aligned,
          .writers = {"*.to_rgb.*"},
          .readers = {"from_rgb.*"},
          .equalised = std::numbers::sqrt2,
          .formats = {rosinality_stylegan()}};
}

}  // namespace firn
