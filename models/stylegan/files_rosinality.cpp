// rosinality's style-based-gan-pytorch, which FreezeD's code is made of: our names behind others of the networks. Files
// hold all blocks up to 1024 pixels, whatever they were trained at; weights of noise begin as zeros, so that those of
// blocks that never trained still are.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "models/published.h"
#include "models/stylegan/files.h"

namespace firn {
namespace {

// A state dict by itself has no name in front: it is an average, as training keeps it.
constexpr const char* networks[][2] = {{"g_running.generator.", "G_ema.generator."},
                                       {"g_running.style.", "G_ema.style."},
                                       {"generator.generator.", "G.generator."},
                                       {"generator.style.", "G.style."},
                                       {"discriminator.", "D."},
                                       {"generator.", "G_ema.generator."},
                                       {"style.", "G_ema.style."}};
constexpr int most_blocks = 9;

std::string noise(const std::string& g, int block) {
  return fmt::format("{}.generator.progression.{}.noise1.weight_orig", g, block);
}

// Of G, the last one that trained; the last one there, where none has.
int last_block(const SafetensorsFile& file, const std::string& g) {
  int there = -1, trained = -1;
  for (int i = 0; i < most_blocks && file.contains(noise(g, i)); ++i) {
    there = i;
    const std::vector<float> values = file.at(noise(g, i)).to_floats();
    if (std::ranges::any_of(values, [](float v) { return v != 0; })) trained = i;
  }
  return trained < 0 ? there : trained;
}

void rename_all(SafetensorsFile& file) {
  rename(file, [](const std::string& name) -> std::string {
    for (const auto& [theirs, ours] : networks)
      if (name.starts_with(theirs)) return ours + name.substr(std::string_view(theirs).size());
    return {};
  });
  if (file.contains("D.from_rgb.8.conv.weight_orig"))
    throw IoError(
        fmt::format("{}: its discriminator has no activation behind from_rgb, which is always there here", file.name));
  int last = -1;
  for (const char* g : {"G_ema", "G"}) last = std::max(last, last_block(file, g));
  if (last < 0) return;                      // only D: all of it
  const int first = most_blocks - 1 - last;  // D counts from the other end
  const auto number = [](const std::string& name, std::string_view prefix) {
    return name.starts_with(prefix) && name.size() > prefix.size() ? name[prefix.size()] - '0' : -1;
  };
  std::erase_if(file.tensors, [&](const auto& t) {
    for (const std::string g : {"G_ema.generator.", "G.generator."}) {
      if (number(t.first, g + "progression.") > last) return true;
      if (const int rgb = number(t.first, g + "to_rgb."); rgb >= 0 && rgb != last) return true;
    }
    if (const int block = number(t.first, "D.progression."); block >= 0 && block < first) return true;
    const int rgb = number(t.first, "D.from_rgb.");
    return rgb >= 0 && rgb != first;
  });
}

bool recognise(const SafetensorsFile& file) {
  return std::ranges::any_of(
      std::array{"g_running.generator.progression.0.conv1.input", "generator.generator.progression.0.conv1.input",
                 "generator.progression.0.conv1.input", "discriminator.progression.8.conv1.0.conv.weight_orig"},
      [&](const char* name) { return file.contains(name); });
}

}  // namespace

FileFormat rosinality_stylegan() {
  return {.title = "rosinality/style-based-gan-pytorch",
          .recognise = recognise,
          .rename = rename_all,
          .tell = FileFormat::by_default};
}

}  // namespace firn
