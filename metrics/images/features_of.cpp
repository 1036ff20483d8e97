#include "metrics/images/features_of.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/sha256.h"
#include "engine/ops.h"
#include "io/parallel.h"

namespace firn {
namespace {

constexpr int64_t kAtOnce = 16;  // a multiple of what networks are fed

class Pixels : public FeatureNetwork {
 public:
  Pixels() : FeatureNetwork({}, Device::cpu()) {}
  int size() const override { return 16; }
  int features() const override { return 16 * 16 * 3; }
  Output operator()(const Tensor& images) const override { return {reshape(images, {images.dim(0), features()}), {}}; }
};

Matrix joined(const std::vector<std::vector<float>>& parts, int64_t rows, int64_t columns) {
  Matrix m(rows, columns);
  auto to = m.values.begin();
  for (const std::vector<float>& part : parts)
    to = std::copy_n(part.begin(), std::min<int64_t>(std::ssize(part), m.values.end() - to), to);
  return m;
}

void require_finite(const std::vector<float>& values, const std::string& network, const std::string& images) {
  if (!std::ranges::all_of(values, [](float v) { return std::isfinite(v); }))
    throw Error(fmt::format("{} finds features of {} that are not finite", network, images));
}

}  // namespace

const char* name_of(Variant variant) {
  return variant == Variant::standard ? "standard" : variant == Variant::clean ? "clean" : "freezed-legacy";
}

Resizer resizer_of(Variant variant) {
  return variant == Variant::standard ? Resizer::tensorflow
         : variant == Variant::clean  ? Resizer::bicubic
                                      : Resizer::bilinear;
}

FeatureTable FeatureTable::first(int64_t rows) const {
  if (rows >= features.rows) return *this;
  return {features.slice(0, rows), logits.columns ? logits.slice(0, rows) : Matrix{},
          std::vector<int>(labels.begin(), labels.begin() + rows),
          std::vector<int64_t>(items.begin(), items.begin() + rows)};
}

void FeatureTable::append(const FeatureTable& more) {
  const auto behind = [](auto& list, const auto& others) { list.insert(list.end(), others.begin(), others.end()); };
  for (const auto& [here, there] : {std::pair(&features, &more.features), std::pair(&logits, &more.logits)}) {
    here->rows += there->rows;
    here->columns = there->columns;
    behind(here->values, there->values);
  }
  behind(labels, more.labels);
  behind(items, more.items);
}

SafetensorsFile to_file(const FeatureTable& t) {
  SafetensorsFile file;
  const auto add = [&](const char* name, const Matrix& m) {
    const std::vector<float> values(m.values.begin(), m.values.end());  // networks gave floats
    file.tensors[name] = StoredTensor::of(std::span<const float>(values), {m.rows, m.columns});
  };
  add("features", t.features);
  if (t.logits.columns) add("logits", t.logits);
  const std::vector<int64_t> labels(t.labels.begin(), t.labels.end());
  file.tensors["labels"] = StoredTensor::of(std::span<const int64_t>(labels), {std::ssize(labels)});
  file.tensors["items"] = StoredTensor::of(std::span<const int64_t>(t.items), {std::ssize(t.items)});
  return file;
}

FeatureTable features_from(const SafetensorsFile& file, int64_t features) {
  const auto matrix = [&](const char* name) {
    const StoredTensor& t = file.at(name);
    if (t.shape.size() != 2) throw IoError(fmt::format("{}: {} is no matrix", file.name, name));
    return Matrix(t.shape[0], t.shape[1], t.to_floats());
  };
  FeatureTable t;
  t.features = matrix("features");
  if (file.contains("logits")) t.logits = matrix("logits");
  for (const double v : file.at("labels").to_doubles()) t.labels.push_back(int(v));
  for (const double v : file.at("items").to_doubles()) t.items.push_back(int64_t(v));
  if (t.features.columns != features || std::ssize(t.labels) != t.features.rows ||
      std::ssize(t.items) != t.features.rows)
    throw IoError(fmt::format("{}: features of another network", file.name));
  return t;
}

FeatureExtractor::FeatureExtractor(const FeatureWeights& weights, Variant variant, DType type, const Device& device)
    : name_(weights.model->name),
      sha256_(weights.sha256),
      variant_(variant),
      type_(type),
      network_(load_features(weights, {.type = type, .batch_statistics = variant == Variant::freezed_legacy}, device)),
      device_(device) {}

FeatureExtractor::FeatureExtractor(Variant variant)
    : name_(pixel_features), variant_(variant), network_(std::make_shared<Pixels>()), device_(Device::cpu()) {}

std::string FeatureExtractor::key(const ImageSet& images, int64_t count, Side side) const {
  const std::string content = images.content();
  if (content.empty() || sha256_.empty()) return {};
  const std::string text =
      fmt::format("1 {} {} {} {} {} {} {}", content, sha256_, name_of(variant_), name_of(type_), device_.name(),
                  std::min(count, images.size()), side == Side::reals ? "reals" : "fakes");
  Sha256 hash;
  hash.add(std::as_bytes(std::span(text)));
  return hash.hex();
}

FeatureTable FeatureExtractor::operator()(const ImageSet& images, int64_t count, Side side,
                                          const std::function<void(int64_t)>& progress) const {
  const NoGrad no_grad;
  const bool legacy = variant_ == Variant::freezed_legacy;
  const int64_t at_once = !legacy ? kAtOnce : side == Side::reals ? 50 : 8;
  const int size = network_->size();
  const int64_t numbers = int64_t{size} * size * 3;
  const Resizer resizer = name_ == pixel_features ? Resizer::bicubic : resizer_of(variant_);

  FeatureTable table;
  std::vector<std::vector<float>> features, logits;
  std::vector<float> waiting;
  Rng coin{.seed = 0};
  const auto flush = [&](bool all) {
    while (std::ssize(waiting) >= at_once * numbers || (all && !waiting.empty())) {
      const int64_t n = std::min(at_once, std::ssize(waiting) / numbers);
      std::vector<float> batch(waiting.begin(), waiting.begin() + n * numbers);
      waiting.erase(waiting.begin(), waiting.begin() + n * numbers);
      const auto out = firn::features_of(
          *network_, Tensor::from(std::span<const float>(batch), {n, size, size, 3}, DType::f32, device_));
      const auto take = [&](const Tensor& t, std::vector<std::vector<float>>& to) {
        std::vector<float> values = t.to_floats();
        require_finite(values, name_, images.name());
        to.push_back(std::move(values));
      };
      take(out.features, features);
      if (out.logits.defined()) take(out.logits, logits);
    }
  };
  images.read(count, [&](std::span<const MeasuredImage> some) {
    const size_t before = waiting.size();
    waiting.resize(before + some.size() * size_t(numbers));
    std::vector<bool> mirrored(some.size());
    if (legacy && side == Side::reals)
      for (size_t i = 0; i < some.size(); ++i) mirrored[i] = coin.uniform() < 0.5;
    for_each_in_parallel(some.size(), 4, [&](size_t i) {
      std::vector<float> one = resized(mirrored[i] ? mirror(some[i].image) : some[i].image, size, resizer);
      // What is from 0 to 255 becomes 2 v - 1 twice over: the network then sees -3 to 1.
      if (legacy)
        for (float& v : one) v = 128 + 128 * (2 * (v / 127.5f - 1) - 1);
      std::ranges::copy(one, waiting.begin() + std::ptrdiff_t(before + i * size_t(numbers)));
    });
    for (const MeasuredImage& m : some) {
      table.labels.push_back(m.label);
      table.items.push_back(m.item);
    }
    flush(false);
    if (progress) progress(std::ssize(table.items));
  });
  flush(true);
  const auto rows = std::ssize(table.items);
  table.features = joined(features, rows, network_->features());
  if (!logits.empty()) table.logits = joined(logits, rows, std::ssize(logits[0]) / std::min(rows, at_once));
  return table;
}

}  // namespace firn
