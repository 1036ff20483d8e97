// What the options of StyleGAN2 imply, and which of them contradict each other.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "models/stylegan2/stylegan2.h"

namespace firn {
namespace {

int width_of(const StyleGan2Options& o) { return o.width ? o.width : o.height; }
int shorter_side(const StyleGan2Options& o) { return std::min(o.height, width_of(o)); }

void require(bool ok, const std::string& message) {
  if (!ok) throw ConfigError("StyleGAN2: " + message);
}

}  // namespace

int StyleGan2Options::start_height() const { return height / (shorter_side(*this) / 4); }
int StyleGan2Options::start_width() const { return width_of(*this) / (shorter_side(*this) / 4); }

std::vector<int> StyleGan2Options::blocks() const {
  std::vector<int> sizes;
  for (int size = 4; size <= shorter_side(*this); size *= 2) sizes.push_back(size);
  return sizes;
}

int StyleGan2Options::channels(int block) const { return std::min(channel_base / block, channel_max); }

int StyleGan2Options::num_ws() const { return 2 * static_cast<int>(blocks().size()); }

void StyleGan2Options::check() const {
  const int side = shorter_side(*this);
  require(side >= 8 && side <= 1024 && (side & (side - 1)) == 0,
          fmt::format("image {}x{}: the shorter side must be a power of two from 8 to 1024", width_of(*this), height));
  require(height % (side / 4) == 0 && width_of(*this) % (side / 4) == 0,
          fmt::format("image {}x{}: the longer side must be a multiple of {}", width_of(*this), height, side / 4));
  require(img_channels == 1 || img_channels == 3 || img_channels == 4,
          fmt::format("images have 1, 3 or 4 channels, not {}", img_channels));
  require(c_dim >= 0 && z_dim > 0 && w_dim > 0 && mapping_layers > 0,
          "z_dim, w_dim and mapping_layers must be positive");
  require(channel_max > 0 && channels(side) > 0,
          fmt::format("channel_base {} leaves no channel at size {}", channel_base, side));
  require(mbstd_group > 0 && mbstd_channels > 0 && channels(4) % mbstd_channels == 0,
          fmt::format("{} minibatch-stddev channels do not divide {} channels", mbstd_channels, channels(4)));
  require(std::isfinite(conv_clamp) && conv_clamp != 0, "conv_clamp must be positive, or negative for none");
  require(type == DType::f32 || type == DType::f64, "parameters are f32 or f64");
  require(activation_type != DType::bf16 || type == DType::f32, "bf16 activations go with f32 parameters");
}

const char* name_of(Architecture architecture) {
  return architecture == Architecture::orig ? "orig" : architecture == Architecture::skip ? "skip" : "resnet";
}

static TextValue architecture_value(Architecture& a) {
  return choice(a, "architecture",
                {{Architecture::orig, "orig"}, {Architecture::skip, "skip"}, {Architecture::resnet, "resnet"}});
}

Architecture architecture_from_name(std::string_view name) {
  Architecture a{};
  architecture_value(a).set(std::string(name));
  return a;
}

void StyleGan2Options::visit(OptionVisitor& v) {
  constexpr const char* group = "Configuration";
  v({.key = "mapping_layers",
     .flag = "--map-depth,--mapping-layers",
     .help = "layers of the mapping network",
     .group = group,
     .least = 1,
     .most = 64,
     .told = Told::by_g,
     .shape = "mapping depth"},
    mapping_layers);
  v({.key = "channel_base",
     .flag = "--channel-base,--cbase",
     .help = "channels at size R are min(base / R, max)",
     .group = group,
     .least = 8,
     .most = 8388608,
     .told = Told::by_either,
     .shape = "channel base"},
    channel_base);
  v({.key = "channel_max",
     .flag = "--channel-max,--cmax",
     .help = "most channels",
     .group = group,
     .least = 1,
     .most = 8192,
     .told = Told::by_either,
     .shape = "channel max"},
    channel_max);
  v({.key = "z_dim",
     .flag = "--z-dim",
     .help = "length of latents",
     .group = group,
     .least = 1,
     .most = 8192,
     .told = Told::by_g,
     .shape = "z"},
    z_dim);
  v({.key = "w_dim",
     .flag = "--w-dim",
     .help = "length of style vectors",
     .group = group,
     .least = 1,
     .most = 8192,
     .told = Told::by_g,
     .shape = "w"},
    w_dim);
  v({.key = "mbstd_group",
     .flag = "--mbstd-group",
     .help = "images that minibatch-std compares",
     .group = group,
     .least = 1,
     .most = 65536,
     .told = Told::by_description},
    mbstd_group);
  v({.key = "mbstd_channels", .least = 1, .told = Told::by_d}, mbstd_channels);
  v({.key = "g_architecture",
     .flag = "--g-arch",
     .help = "orig, skip or resnet [skip]",
     .group = group,
     .told = Told::by_g,
     .shape = "G"},
    architecture_value(g_architecture));
  v({.key = "d_architecture",
     .flag = "--d-arch",
     .help = "orig, skip or resnet [resnet]",
     .group = group,
     .told = Told::by_d,
     .shape = "D"},
    architecture_value(d_architecture));
  v({.key = "conv_clamp",
     .flag = "--conv-clamp",
     .help = "bound of activations; -1: none [-1]",
     .group = group,
     .least = -1,
     .most = 1e9,
     .told = Told::by_description,
     .shape = "clamp"},
    conv_clamp);
  v({.key = "modulated", .told = Told::by_description}, modulated);
  v({.key = "output_scale", .told = Told::by_description}, output_scale);
}

std::string StyleGan2Options::describe() const {
  return fmt::format("{} / {}, channels {} / R up to {}, mapping depth {}", name_of(g_architecture),
                     name_of(d_architecture), channel_base, channel_max, mapping_layers);
}

}  // namespace firn
