// What the options of SNGAN imply.
#include <fmt/format.h>

#include "base/error.h"
#include "models/sngan/sngan.h"

namespace firn {

std::vector<int> SnganOptions::g_widths() const {
  switch (height) {
    case 32:
      return {4 * ch, 4 * ch, 4 * ch, 4 * ch};
    case 64:
      return {16 * ch, 8 * ch, 4 * ch, 2 * ch, ch};
    default:
      return {16 * ch, 16 * ch, 8 * ch, 4 * ch, 2 * ch, ch};
  }
}

std::vector<SnganOptions::Block> SnganOptions::d_blocks() const {
  const std::vector<int> widths = height == 32   ? std::vector{2 * ch, 2 * ch, 2 * ch, 2 * ch}
                                  : height == 64 ? std::vector{ch, 2 * ch, 4 * ch, 8 * ch, 16 * ch}
                                                 : std::vector{ch, 2 * ch, 4 * ch, 8 * ch, 16 * ch, 16 * ch};
  const size_t downs = height == 32 ? 2 : 5;
  std::vector<Block> blocks;
  for (size_t i = 0; i < widths.size(); ++i) {
    const int in = i == 0 ? img_channels : widths[i - 1];
    blocks.push_back({.in = in, .out = widths[i], .hidden = i == 0 ? widths[i] : in, .down = i < downs});
  }
  return blocks;
}

void SnganOptions::check() const {
  const auto require = [](bool ok, const std::string& message) {
    if (!ok) throw ConfigError("SNGAN: " + message);
  };
  const int w = width ? width : height;
  require(w == height && (height == 32 || height == 64 || height == 128),
          fmt::format("image {}x{}: the sizes are 32x32, 64x64 and 128x128", w, height));
  require(img_channels == 1 || img_channels == 3 || img_channels == 4,
          fmt::format("images have 1, 3 or 4 channels, not {}", img_channels));
  require(c_dim >= 0 && z_dim > 0 && ch > 0 && ch <= 1024, "z_dim and ch must be positive, and ch at most 1024");
  require(type == DType::f32 || type == DType::f64, "parameters are f32 or f64");
  require(activation_type != DType::bf16 || type == DType::f32, "bf16 activations go with f32 parameters");
}

void SnganOptions::visit(OptionVisitor& v) {
  constexpr const char* group = "Configuration";
  v({.key = "ch",
     .flag = "--ch",
     .help = "width of the first block, of which all others are multiples [64]",
     .group = group,
     .least = 1,
     .most = 1024,
     .told = Told::by_either,
     .shape = "ch"},
    ch);
  v({.key = "z_dim",
     .flag = "--z-dim",
     .help = "length of latents",
     .group = group,
     .least = 1,
     .most = 8192,
     .told = Told::by_g,
     .shape = "z"},
    z_dim);
  v({.key = "modulated", .told = Told::by_description}, modulated);
}

std::string SnganOptions::describe() const { return fmt::format("ch {}, z {}", ch, z_dim); }

}  // namespace firn
