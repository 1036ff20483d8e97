#include "models/features/features.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "base/error.h"
#include "base/text.h"
#include "io/files.h"
#include "io/weights.h"
#include "models/features/layers.h"
#include "models/features/networks.h"
#include "models/files.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

// Published files have the first digits of their hash in their names: NAME-6726825d.pth.
void check_name(const fs::path& path, const std::string& sha256) {
  constexpr size_t digits = 8;
  const std::string stem = path.stem().string();
  if (path.extension() != ".pth" || stem.size() <= digits || stem[stem.size() - digits - 1] != '-') return;
  const std::string named = stem.substr(stem.size() - digits);
  if (named.find_first_not_of("0123456789abcdef") != named.npos || sha256.starts_with(named)) return;
  throw IoError(fmt::format("{}: its SHA-256 begins with {} and not as its name says: it is damaged, or another file",
                            path.string(), sha256.substr(0, digits)));
}

std::string names() {
  std::string all;
  for (const FeatureModel& m : feature_models()) all += (all.empty() ? "" : ", ") + m.name;
  return all;
}

}  // namespace

std::vector<Tensor> FeatureNetwork::stages(const Tensor&) const {
  throw ConfigError("perceptual distances are not defined on this network; vgg16 and squeezenet have them");
}

FeatureNetwork::Levels FeatureNetwork::levels(const Tensor&) const {
  throw ConfigError("there are no maps to judge images by");
}

std::vector<Tensor> FeatureNetwork::pyramid(const Tensor&) const {
  throw ConfigError("there are no four maps to project");
}

Tensor FeatureNetwork::seen(const Tensor& images, int side) const {
  Tensor x = resize(images, side, side, Resize::area);
  if (x.dim(3) == 1) x = expand(x, {x.dim(0), x.dim(1), x.dim(2), 3}, x.type());
  return normalise(affine(x, 127.5, 127.5));
}

// By whole lines: three numbers are too few for a loop.
Tensor FeatureNetwork::normalised(const Tensor& images, const Normalisation& by) const {
  const Tensor x = options_.type == DType::f64 ? cast(images, options_.type) : images;
  const Shape rows{x.dim(0), x.dim(1), x.dim(2) * x.dim(3)};
  Line& line = lines_[x.dim(2)];
  if (!line.scale.defined() || line.scale.type() != x.type()) {
    std::vector<double> scale, shift;
    for (int64_t i = 0; i < rows[2]; ++i) {
      const size_t c = size_t(i % 3);
      scale.push_back(1 / (255 * by.deviation[c]));
      shift.push_back(-by.mean[c] / by.deviation[c]);
    }
    const auto make = [&](const std::vector<double>& v) { return Tensor::from(v, {rows[2]}, x.type(), device_); };
    line = {make(scale), make(shift)};
  }
  return as_type(reshape(reshape(x, rows) * line.scale + line.shift, x.shape()), options_.type);
}

void FeatureNetwork::require_size(const Tensor& images) const {
  const Shape wanted{images.rank() ? images.dim(0) : 0, size(), size(), 3};
  if (images.shape() != wanted)
    throw ShapeError(
        fmt::format("this feature network needs images [N,{0},{0},3], got {1}", size(), to_string(images.shape())));
}

FeatureNetwork::Output features_of(const FeatureNetwork& network, const Tensor& images) {
  const int64_t n = images.dim(0), at_once = network.at_once();
  if (at_once == 0 || n == at_once) return network(images);
  std::vector<Tensor> features, logits;
  for (int64_t i = 0; i < n; i += at_once) {
    const int64_t count = std::min(at_once, n - i);
    const Tensor batch = slice(images, 0, i, i + count);
    const auto out = network(count == at_once ? batch : embed(batch, 0, 0, at_once));
    features.push_back(count == at_once ? out.features : slice(out.features, 0, 0, count));
    if (out.logits.defined()) logits.push_back(count == at_once ? out.logits : slice(out.logits, 0, 0, count));
  }
  return {concat(features, 0), logits.empty() ? Tensor{} : concat(logits, 0)};
}

const std::vector<FeatureModel>& feature_models() {
  static const std::vector<FeatureModel> all{inception_model(),
                                             vgg16_model(),
                                             squeezenet_model(),
                                             mobilenet_v2_model(),
                                             efficientnet_lite1_model(),
                                             clip_vit_b32_model(),
                                             dino_vit_b16_model(),
                                             dinov2_vit_s14_model(),
                                             swin_t_model(),
                                             swin_t_coco_model(),
                                             swin_t_ade_model(),
                                             vgg16_antialiased_model(),
                                             unet_faces_model(),
                                             resnet18_normals_model()};
  return all;
}

const FeatureModel& feature_model(std::string_view name) {
  const auto found = std::ranges::find(feature_models(), name, &FeatureModel::name);
  if (found != feature_models().end()) return *found;
  throw ConfigError(fmt::format("there is no feature network \"{}\"; there are {}", printable(name), names()));
}

FeatureWeights feature_weights(const fs::path& path) {
  const std::string sha256 = sha256_of_file(path);
  check_name(path, sha256);
  const SafetensorsFile file = read_weights(path);
  const auto model = std::ranges::find_if(feature_models(), [&](const FeatureModel& m) { return m.recognise(file); });
  if (model == feature_models().end())
    throw IoError(fmt::format("{}: holds none of the feature networks that are known: {}", path.string(), names()));
  for (const auto& [name, tensor] : file.tensors) require_finite(file, name);
  return {&*model, path, sha256};
}

static fs::path weights_folder(const fs::path& given) {
  const char* variable = std::getenv("FIRN_WEIGHTS");
  return !given.empty() ? given : variable ? variable : "";
}

fs::path feature_file(const FeatureModel& model, const fs::path& folder) {
  const fs::path where = weights_folder(folder);
  std::vector<std::string> files = model.files;
  for (const char* extension : {".safetensors", ".pth"}) files.push_back(model.name + extension);
  std::error_code none;
  for (const std::string& file : files)
    if (!where.empty() && fs::exists(where / file, none)) return where / file;
  return {};
}

FeatureWeights find_feature_weights(std::string_view name, const fs::path& folder) {
  const FeatureModel& model = feature_model(name);
  const fs::path where = weights_folder(folder);
  if (!where.empty() && !fs::is_directory(where))
    throw IoError(fmt::format("there is no folder {} to look for the weights of {} in", where.string(), name));
  if (const fs::path file = feature_file(model, where); !file.empty()) {
    FeatureWeights weights = feature_weights(file);
    if (weights.model == &model) return weights;
    throw IoError(fmt::format("{} holds {}, not {}", file.string(), weights.model->name, name));
  }
  throw IoError(
      fmt::format("the weights of {} are not {}: wanted is {}; name it with --features, or its folder with "
                  "FIRN_WEIGHTS",
                  name, where.empty() ? "known" : "in " + where.string(), model.published));
}

std::unique_ptr<FeatureNetwork> load_features(const FeatureWeights& weights, const FeatureOptions& options,
                                              const Device& device) {
  return weights.model->make(read_weights(weights.path), options, device);
}

}  // namespace firn
