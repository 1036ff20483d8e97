#include "tools/data_commands.h"

#include <cstdio>

#include "base/text.h"
#include "models/registry.h"

namespace firn::tools {
namespace {

constexpr int smallest = 8, largest = 1024;

// The longer side in quarters of the shorter one, `rounded` to whole ones.
Size with_shorter(Size size, int shorter, auto rounded) {
  const int quarter = shorter / 4;
  const auto longer = [&](int side) { return std::max(shorter, int(rounded(double(side) / quarter)) * quarter); };
  return size.width < size.height ? Size{shorter, longer(size.height)} : Size{longer(size.width), shorter};
}

}  // namespace

void say_line(std::string line) {
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stdout);
}

void say_classes(std::span<const std::string> names, std::span<const int64_t> counts) {
  if (names.empty()) return say("classes: none");
  say("classes: {}", names.size());
  for (size_t c = 0; c < names.size(); ++c) say("  {:4}  {}: {} images", c, printable(names[c]), counts[c]);
}

void say_broken(const std::vector<BadImage>& bad) {
  if (!bad.empty()) say("broken: {} files, skipped", bad.size());
  for (const auto& [name, reason] : bad) say("  {}: {}", printable(name), printable(reason));
}

void FolderOptions::add_to(CLI::App& command) {
  command.add_option("--folder", folder, "Only what lies in this folder of the set; . for all, train/ and val/ alike");
  command.add_flag("--folder-classes", classes, "The outermost folders are classes, whatever they look like");
}

bool trainable(Size size) {
  return std::ranges::any_of(models(), [&](const Model& m) {
    ModelSpec spec = m.defaults();
    ModelBasics basics = spec.basics();
    basics.images = {.height = size.height, .width = size.width};
    spec.set(basics);
    try {
      spec.check();
      return true;
    } catch (const ConfigError&) {
      return false;
    }
  });
}

Size trainable_around(Size size) {
  Size best;
  for (int shorter = smallest; shorter <= largest; shorter *= 2) {
    const Size holder = with_shorter(size, shorter, [](double v) { return std::ceil(v); });
    const bool holds = holder.width >= size.width && holder.height >= size.height;
    const auto area = [](Size s) { return int64_t{s.width} * s.height; };
    if (holds && (best.width == 0 || area(holder) < area(best))) best = holder;
  }
  if (best.width == 0)
    throw ConfigError(
        fmt::format("--pad: {} is larger than what gan-train takes, at most {} on the shorter side; add "
                    "--resolution {} --resize",
                    to_string(size), largest, largest));
  return best;
}

void say_untrainable(Size size, const char* pad_option) {
  if (trainable(size)) return;
  const int side = std::min(size.width, size.height);
  std::string nearest;
  for (int shorter = smallest; shorter <= largest; shorter *= 2)
    if (shorter * 2 > side && shorter < side * 2) {
      const double scale = double(shorter) / side;
      const Size scaled{int(std::lround(size.width * scale)), int(std::lround(size.height * scale))};
      const Size s = with_shorter(scaled, shorter, [](double v) { return std::round(v); });
      nearest += (nearest.empty() ? "" : " and ") + to_string(s);
    }
  if (nearest.empty()) nearest = side < smallest ? "8x8" : "1024x1024";
  std::string line = fmt::format("gan-train takes no {}; the nearest are {}: --width, --height and --resize",
                                 to_string(size), nearest);
  if (side <= largest) line += fmt::format(", or {} for {}", pad_option, to_string(trainable_around(size)));
  say_line(line);
}

}  // namespace firn::tools
