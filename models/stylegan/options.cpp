// What the options of StyleGAN imply.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "models/stylegan/stylegan.h"

namespace firn {

std::vector<int> StyleGanOptions::sizes() const {
  std::vector<int> all;
  for (int size = 4; size <= height; size *= 2) all.push_back(size);
  return all;
}

int StyleGanOptions::channels(int size) const { return std::min(channel_base / size, channel_max); }

void StyleGanOptions::check() const {
  const auto require = [](bool ok, const std::string& message) {
    if (!ok) throw ConfigError("StyleGAN: " + message);
  };
  const int w = width ? width : height;
  require(w == height && height >= 8 && height <= 1024 && (height & (height - 1)) == 0,
          fmt::format("image {}x{}: it is square, of a power of two from 8 to 1024", w, height));
  require(img_channels == 1 || img_channels == 3 || img_channels == 4,
          fmt::format("images have 1, 3 or 4 channels, not {}", img_channels));
  require(c_dim == 0, "it has no classes; leave out --cond, or take another --model");
  require(z_dim > 0 && mapping_layers > 0 && fused_from > 0, "z_dim, mapping_layers and fused_from must be positive");
  require(channel_max > 0 && channels(height) > 0,
          fmt::format("channel_base {} leaves no channel at size {}", channel_base, height));
  require(type == DType::f32 || type == DType::f64, "parameters are f32 or f64");
  require(activation_type != DType::bf16 || type == DType::f32, "bf16 activations go with f32 parameters");
}

void StyleGanOptions::visit(OptionVisitor& v) {
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
  v({.key = "fused_from",
     .flag = "--fused-from",
     .help = "from this size on files have convolutions that resample in one piece, as published [128]",
     .group = group,
     .least = 4,
     .most = 4096,
     .told = Told::by_either,
     .shape = "fused from"},
    fused_from);
  v({.key = "modulated", .told = Told::by_description}, modulated);
  v({.key = "growing", .told = Told::by_either}, growing);
}

std::string StyleGanOptions::describe() const {
  return fmt::format("channels {} / R up to {}, mapping depth {}", channel_base, channel_max, mapping_layers);
}

}  // namespace firn
