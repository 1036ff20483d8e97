// rosinality's stylegan2-pytorch: layers are numbered, weights have an axis more, and there is no average of w unless a
// converter left one. Its modulation scales weights by 1 / sqrt(fan in), which demodulation takes out again.
#include <fmt/format.h>

#include <charconv>

#include "base/error.h"
#include "models/published.h"
#include "models/stylegan2/files.h"

namespace firn {
namespace {

constexpr const char* networks[][2] = {{"g_ema.", "G_ema."}, {"g.", "G."}, {"d.", "D."}};

// "12.rest" -> 12 and "rest"; -1 where there is no number.
std::pair<int, std::string> numbered(const std::string& text) {
  int number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data() + text.size() || *end != '.' || number < 0 || number > 18)
    return {-1, text};
  return {number, std::string(end + 1, text.data() + text.size())};
}

std::string layer_name(const std::string& layer, const std::string& rest) {
  constexpr const char* names[][2] = {{"conv.weight", "weight"},
                                      {"conv.modulation.weight", "affine.weight"},
                                      {"conv.modulation.bias", "affine.bias"},
                                      {"noise.weight", "noise_strength"},
                                      {"activate.bias", "bias"},
                                      {"bias", "bias"}};
  for (const auto& [theirs, ours] : names)
    if (rest == theirs) return fmt::format("synthesis.{}.{}", layer, ours);
  return {};
}

std::string g_name(const std::string& name) {
  const auto after = [&](std::string_view prefix) { return name.substr(prefix.size()); };
  if (name == "input.input") return "synthesis.b4.const";
  if (name.starts_with("style.")) {
    const auto [i, rest] = numbered(after("style."));
    return i < 1 ? "" : fmt::format("mapping.fc{}.{}", i - 1, rest);
  }
  if (name.starts_with("conv1.")) return layer_name("b4.conv1", after("conv1."));
  if (name.starts_with("to_rgb1.")) return layer_name("b4.torgb", after("to_rgb1."));
  if (name.starts_with("convs.")) {
    const auto [i, rest] = numbered(after("convs."));
    return i < 0 ? "" : layer_name(fmt::format("b{}.conv{}", 8LL << i / 2, i % 2), rest);
  }
  if (name.starts_with("to_rgbs.")) {
    const auto [i, rest] = numbered(after("to_rgbs."));
    return i < 0 ? "" : layer_name(fmt::format("b{}.torgb", 8LL << i), rest);
  }
  if (name.starts_with("noises.noise_")) {
    const auto [i, rest] = numbered(after("noises.noise_") + ".");
    return i < 0 ? "" : fmt::format("synthesis.b{}.conv{}.noise_const", 1LL << (i + 5) / 2, i == 0 ? 1 : (i + 1) % 2);
  }
  return {};
}

// `size`: of the images
std::string d_name(const std::string& name, int size) {
  const auto after = [&](std::string_view prefix) { return name.substr(prefix.size()); };
  constexpr const char* ends[][2] = {
      {"final_conv.0.weight", "b4.conv.weight"},  {"final_conv.1.bias", "b4.conv.bias"},
      {"final_linear.0.weight", "b4.fc.weight"},  {"final_linear.0.bias", "b4.fc.bias"},
      {"final_linear.1.weight", "b4.out.weight"}, {"final_linear.1.bias", "b4.out.bias"}};
  for (const auto& [theirs, ours] : ends)
    if (name == theirs) return ours;
  if (!name.starts_with("convs.")) return {};
  const auto [i, rest] = numbered(after("convs."));
  constexpr const char* layers[][2] = {{"conv1.0.weight", "conv0.weight"},
                                       {"conv1.1.bias", "conv0.bias"},
                                       {"conv2.1.weight", "conv1.weight"},
                                       {"conv2.2.bias", "conv1.bias"},
                                       {"skip.1.weight", "skip.weight"}};
  if (i == 0 && rest == "0.weight") return fmt::format("b{}.fromrgb.weight", size);
  if (i == 0 && rest == "1.bias") return fmt::format("b{}.fromrgb.bias", size);
  for (const auto& [theirs, ours] : layers)
    if (i > 0 && rest == theirs) return fmt::format("b{}.{}", size >> (i - 1), ours);
  return {};
}

void rename_all(SafetensorsFile& file) {
  int size = 4;  // twice for each block of D
  for (int i = 1; i < 16 && file.contains(fmt::format("d.convs.{}.conv1.0.weight", i)); ++i) size *= 2;
  if (const auto average = file.tensors.extract("latent_avg"); !average.empty())
    for (const char* network : {"g_ema.", "g."})
      if (any_starts(file, network)) {
        file.tensors[fmt::format("{}latent_avg", network)] = average.mapped();
        break;
      }
  rename(file, [&](const std::string& name) -> std::string {
    for (const auto& [theirs, ours] : networks) {
      if (!name.starts_with(theirs)) continue;
      const std::string own = name.substr(std::string_view(theirs).size());
      const std::string to = own == "latent_avg" ? "mapping.w_avg" : *theirs == 'd' ? d_name(own, size) : g_name(own);
      return to.empty() ? "" : ours + to;
    }
    return {};
  });
  for (auto& [name, t] : file.tensors) {  // [1,O,I,3,3], [1,3,1,1], [1]
    const size_t rank = name.ends_with("noise_strength")                                  ? 0
                        : name.ends_with("noise_const")                                   ? 2
                        : name.ends_with("const")                                         ? 3
                        : name.ends_with("torgb.bias") || name.ends_with("mapping.w_avg") ? 1
                                                                                          : t.shape.size();
    while (t.shape.size() > rank && t.shape.front() == 1) t.shape.erase(t.shape.begin());
    while (t.shape.size() > rank && t.shape.back() == 1) t.shape.pop_back();
    if (name.ends_with(".weight") && t.shape.size() == 5 && t.shape[0] == 1) t.shape.erase(t.shape.begin());
  }
}

bool recognise(const SafetensorsFile& file) {
  return file.contains("g_ema.input.input") || file.contains("g.input.input") ||
         file.contains("d.final_linear.0.weight");
}

}  // namespace

FileFormat rosinality_names() {
  return {.title = "rosinality/stylegan2-pytorch",
          .recognise = recognise,
          .rename = rename_all,
          .tell = FileFormat::by_default};
}

}  // namespace firn
