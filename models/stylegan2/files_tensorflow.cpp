// NVIDIA's TensorFlow code: a tuple of networks G, D, Gs, whose variables have paths for names, dense weights [I,O],
// convolutions [H,W,I,O], and biases of the styles without the 1 that is added to them. G's upsampling convolutions
// turn their kernels around.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "models/published.h"
#include "models/stylegan2/files.h"
#include "models/stylegan2/stylegan2.h"

namespace firn {
namespace {

constexpr const char* networks[][2] = {{"0/", "G"}, {"1/", "D"}, {"2/", "G_ema"}};

int number(std::string_view text) {  // -1: none
  int v = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  return error == std::errc() && end == text.data() + text.size() && v < 4096 ? v : -1;
}

// "4x4" -> 4
int size_of(std::string_view folder) {
  const size_t x = folder.find('x');
  return x == folder.npos || folder.substr(0, x) != folder.substr(x + 1) ? -1 : number(folder.substr(0, x));
}

// Of a layer's variable; empty where there is none of that name.
std::string layer_name(std::string_view layer, std::string_view variable) {
  constexpr const char* layers[][2] = {
      {"Conv", "conv"},   {"Conv0_up", "conv0"},  {"Conv0", "conv0"}, {"Conv1", "conv1"}, {"Conv1_down", "conv1"},
      {"ToRGB", "torgb"}, {"FromRGB", "fromrgb"}, {"Skip", "skip"},   {"Dense0", "fc"},   {"Const", ""}};
  constexpr const char* variables[][2] = {{"weight", "weight"},
                                          {"bias", "bias"},
                                          {"mod_weight", "affine.weight"},
                                          {"mod_bias", "affine.bias"},
                                          {"noise_strength", "noise_strength"},
                                          {"const", "const"}};
  for (const auto& [their_layer, our_layer] : layers)
    for (const auto& [theirs, ours] : variables)
      if (layer == their_layer && variable == theirs) return *our_layer ? fmt::format("{}.{}", our_layer, ours) : ours;
  return {};
}

// "LabelEmbed" or "PREFIX<i>": a layer of the mapping network
std::string mapping_name(std::string_view layer, std::string_view prefix, std::string_view variable) {
  if (layer == "LabelEmbed") return fmt::format("mapping.embed.{}", variable);
  if (!layer.starts_with(prefix) || number(layer.substr(prefix.size())) < 0) return {};
  return fmt::format("mapping.fc{}.{}", layer.substr(prefix.size()), variable);
}

// `top`: the size of the images
std::string g_name(const std::vector<std::string>& path, int top) {
  if (path.size() == 1 && path[0] == "dlatent_avg") return "mapping.w_avg";
  if (path.size() == 3 && path[0] == "mapping") return mapping_name(path[1], "Dense", path[2]);
  if (path.size() < 2 || path[0] != "synthesis") return {};
  if (path.size() == 2 && path[1].starts_with("noise")) {
    const int i = number(path[1].substr(5));
    return i < 0 || i > 20 ? ""
                           : fmt::format("synthesis.b{}.conv{}.noise_const", 1 << (i + 5) / 2, i ? (i + 1) % 2 : 1);
  }
  if (path.size() == 3 && path[1] == "ToRGB_lod0")
    return fmt::format("synthesis.b{}.{}", top, layer_name("ToRGB", path[2]));
  if (path.size() != 4 || size_of(path[1]) < 4) return {};
  const std::string layer = path[2] == "Conv" ? "Conv1" : path[2], own = layer_name(layer, path[3]);
  return own.empty() ? "" : fmt::format("synthesis.b{}.{}", size_of(path[1]), own);
}

std::string d_name(const std::vector<std::string>& path, int top) {
  if (path.size() == 2 && path[0] == "Output") return fmt::format("b4.out.{}", path[1]);
  if (path.size() == 2 && path[0] == "FromRGB_lod0") return fmt::format("b{}.{}", top, layer_name("FromRGB", path[1]));
  if (path.size() == 2) return mapping_name(path[0], "Mapping", path[1]);
  if (path.size() != 3 || size_of(path[0]) < 4) return {};
  const std::string own = layer_name(path[1], path[2]);
  return own.empty() ? "" : fmt::format("b{}.{}", size_of(path[0]), own);
}

StoredTensor plus_one(const StoredTensor& t) {
  std::vector<float> values = t.to_floats();
  for (float& v : values) v += 1;
  return StoredTensor::of(std::span<const float>(values), t.shape);
}

void rename_all(SafetensorsFile& file) {
  std::map<std::string, StoredTensor> named;
  for (const auto& [theirs, ours] : networks) {
    int top = 4;
    for (int size = 8; size <= 1024; size *= 2)
      for (const char* layer : {"synthesis/{0}x{0}/Conv1/weight", "{0}x{0}/Conv0/weight"})
        if (file.contains(theirs + fmt::format(fmt::runtime(layer), size))) top = size;
    for (auto it = file.tensors.lower_bound(theirs); it != file.tensors.end() && it->first.starts_with(theirs); ++it) {
      const std::vector<std::string> path = parts_of(it->first.substr(std::string_view(theirs).size()), '/');
      const bool of_d = *ours == 'D';
      const std::string name = of_d ? d_name(path, top) : g_name(path, top);
      if (name.empty()) continue;
      StoredTensor t = std::move(it->second);
      if (name.ends_with(".weight") && t.shape.size() == 4) {
        t = permuted(t, {3, 2, 0, 1});
        if (!of_d && (name.ends_with("conv0.weight") || name.ends_with("skip.weight"))) t = flipped(t, {2, 3});
      } else if (name.ends_with(".weight") && t.shape.size() == 2) {
        t = permuted(t, {1, 0});
      } else if (name.ends_with("affine.bias")) {
        t = plus_one(t);
      } else {  // const [1,C,4,4], noise [1,1,R,R]
        const size_t rank = name.ends_with("noise_const") ? 2 : name.ends_with(".const") ? 3 : t.shape.size();
        while (t.shape.size() > rank && t.shape.front() == 1) t.shape.erase(t.shape.begin());
      }
      if (!named.emplace(fmt::format("{}.{}", ours, name), std::move(t)).second)
        throw IoError(fmt::format("{}: two of its variables would be {}.{}", file.name, ours, name));
    }
  }
  file.tensors = std::move(named);
}

// Of G: its variables; an older network (of the first StyleGAN) is refused by name.
bool recognise(const SafetensorsFile& file) {
  const auto version = file.metadata.find("2.version");
  const bool networks_there = any_starts(file, "2/synthesis/") && any_starts(file, "1/");
  if (networks_there && version != file.metadata.end() && number(version->second) >= 0 && number(version->second) < 4)
    throw IoError(fmt::format("{}: a TensorFlow network of version {}, from before StyleGAN2", file.name,
                              printable(version->second)));
  return networks_there;
}

void tell(ModelSpec& model, const std::map<std::string, std::string>& values) {
  StyleGan2Options& o = model.as<StyleGan2Options>();
  const auto said = [&](const char* name) {
    const auto it = values.find(name);
    return it == values.end() ? -1 : number(it->second);
  };
  if (const int group = said("1.static_kwargs.mbstd_group_size"); group > 0) o.mbstd_group = group;
  if (const int clamp = said("2.static_kwargs.conv_clamp"); clamp > 0) o.conv_clamp = clamp;
}

}  // namespace

FileFormat tensorflow_names() {
  return {.title = "stylegan2 of TensorFlow", .recognise = recognise, .rename = rename_all, .tell = tell};
}

}  // namespace firn
