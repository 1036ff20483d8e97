// NVIDIA's PyTorch code pickles whole modules, whose tensors have our names (which are theirs).
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.h"
#include "base/text.h"
#include "models/published.h"
#include "models/stylegan2/files.h"
#include "models/stylegan2/stylegan2.h"

namespace firn {
namespace {

using Values = std::map<std::string, std::string>;

double number(const std::string& name, const std::string& text) {
  double v = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc() || end != text.data() + text.size())
    throw ConfigError(fmt::format("{} is {}, no number", name, text));
  return v;
}

// An argument of G, of D, or of a part of them: empty where nobody gave it.
std::string argument(const Values& values, const std::string& name, std::initializer_list<const char*> parts) {
  for (const std::string network : {"G_ema", "G", "D"})
    for (const char* part : parts)
      if (const auto it = values.find(fmt::format("{}._init_kwargs.{}{}", network, part, name)); it != values.end())
        return it->second;
  return {};
}

// What a layer keeps of it, which its code's defaults are in, too.
std::string attribute(const Values& values, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const auto it = values.find(name); it != values.end()) return it->second;
  return {};
}

void tell(ModelSpec& model, const Values& values) {
  StyleGan2Options& o = model.as<StyleGan2Options>();
  std::string clamp = attribute(
      values, {"G_ema.synthesis.b4.conv1.conv_clamp", "G.synthesis.b4.conv1.conv_clamp", "D.b8.conv0.conv_clamp"});
  if (clamp.empty()) clamp = argument(values, "conv_clamp", {"synthesis_kwargs.", ""});
  if (!clamp.empty()) o.conv_clamp = number("conv_clamp", clamp);
  std::string group = attribute(values, {"D.b4.mbstd.group_size"});
  if (group.empty()) group = argument(values, "mbstd_group_size", {"epilogue_kwargs."});
  constexpr int whole_batch = 65536;
  if (!group.empty()) {
    const double v = number("mbstd_group_size", group);
    if (!(v >= 1 && v <= whole_batch)) throw ConfigError(fmt::format("mbstd_group_size is {}", printable(group)));
    o.mbstd_group = int(v);
  } else if (values.contains("D.b4.mbstd.num_channels")) {  // a layer without a group
    o.mbstd_group = whole_batch;
  }
  if (const std::string mult = argument(values, "lr_multiplier", {"mapping_kwargs."});
      !mult.empty() && number("lr_multiplier", mult) != 0.01)
    throw ConfigError(fmt::format("the mapping network's lr_multiplier is {}, here always 0.01", mult));
  if (const std::string act = argument(values, "activation", {"synthesis_kwargs.", "block_kwargs.", ""});
      !act.empty() && act != "lrelu")
    throw ConfigError(fmt::format("the activation is {}, here always lrelu", printable(act)));
}

void keep_networks(SafetensorsFile& file) {
  if (any_starts(file, "G_ema.synthesis.L0_") || any_starts(file, "G.synthesis.L0_"))
    throw IoError(
        fmt::format("{}: a generator of StyleGAN3 (configuration T or R), which no model here is; of that "
                    "code only its StyleGAN2 configuration is",
                    file.name));
}

bool of_one_network(const SafetensorsFile& file) {
  return any_starts(file, "synthesis.b4.") || file.contains("b4.conv.weight");
}

void put_prefix(SafetensorsFile& file) {
  const std::string prefix = any_starts(file, "synthesis.b4.") ? "G_ema." : "D.";
  rename(file, [&](const std::string& name) { return prefix + name; });
}

}  // namespace

FileFormat nvidia_pickle() {
  return {.title = "stylegan2-ada-pytorch",
          .recognise =
              [](const SafetensorsFile& file) {
                return std::ranges::any_of(std::array{"G_ema.class", "G.class", "D.class"},
                                           [&](const char* name) { return file.metadata.contains(name); });
              },
          .rename = keep_networks,
          .tell = tell};
}

FileFormat nvidia_names() {
  return {.title = "one network of stylegan2-ada-pytorch", .recognise = of_one_network, .rename = put_prefix};
}

}  // namespace firn
