#include "metrics/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <numeric>

#include "base/error.h"
#include "io/files.h"
#include "io/safetensors.h"
#include "io/weights.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - began_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point began_ = Clock::now();
};

// Of a file with the linear layers of LPIPS; empty: it is another.
std::string network_of_heads(const fs::path& path) {
  constexpr const char *long_name = "lin1.model.1.weight", *short_name = "lin1.weight";
  const SafetensorsFile file = read_weights(path);
  const std::string name = file.contains(long_name) ? long_name : short_name;
  if (!file.contains(name)) return {};
  const auto& shape = file.at(name).shape;
  const bool six = file.contains("lin6.model.1.weight") || file.contains("lin6.weight");
  if (six) return "squeezenet";
  if (shape.size() == 4 && shape[1] == 128) return "vgg16";
  throw IoError(fmt::format("{}: the weights of LPIPS for a network that is not known here", path.string()));
}

}  // namespace

const FeatureWeights* WeightFiles::of(const std::string& network) const {
  for (const FeatureWeights& w : networks)
    if (w.model->name == network) return &w;
  return nullptr;
}

FeatureWeights WeightFiles::find(const std::string& network) const {
  const FeatureWeights* given = of(network);
  return given ? *given : find_feature_weights(network, {});
}

WeightFiles weight_files(const std::vector<std::string>& paths) {
  WeightFiles files;
  for (const fs::path path : paths) {
    if (const std::string network = network_of_heads(path); !network.empty())
      files.heads[network] = path;
    else
      files.networks.push_back(feature_weights(path));
  }
  return files;
}

fs::path heads_for(const std::string& network, const WeightFiles& files) {
  if (const auto found = files.heads.find(network); found != files.heads.end()) return found->second;
  const char* folder = std::getenv("FIRN_WEIGHTS");
  const std::string published = network == "squeezenet" ? "squeeze.pth" : "vgg.pth";
  std::error_code none;
  for (const std::string& name :
       {"lpips_" + published, published, "lpips_" + fs::path(published).stem().string() + ".safetensors"})
    if (folder && fs::exists(fs::path(folder) / name, none)) return fs::path(folder) / name;
  throw IoError(
      fmt::format("perceptual distances in {} need the weights of LPIPS v0.1 for it: wanted is {} of the lpips "
                  "package; name it with --features, or its folder with FIRN_WEIGHTS",
                  network, published));
}

void require_weights(const MetricName& name, const WeightFiles& features) {
  if (name.network.empty() || name.network == pixel_features) return;
  if (!features.of(name.network)) find_feature_weights(name.network, {});
  if (name.metric->needs_lpips) heads_for(name.network, features);
}

std::vector<MetricName> parse_metrics(const std::vector<std::string>& names, const WeightFiles& features) {
  std::vector<MetricName> parsed;
  for (const std::string& name : names) {
    MetricName n = parse_metric(name);
    if (!features.networks.empty() && !features.of(n.network))
      n = parse_metric(name, features.networks.front().model->name);
    if (std::ranges::count(parsed, n.text(), &MetricName::text) == 0) parsed.push_back(std::move(n));
  }
  return parsed;
}

std::string to_text(const Memorising& m, const std::string& features) {
  return fmt::format("{}copies {:.0f} % (of new images {:.0f} % are expected to look like copies; {} features)",
                     m.flagged ? "MEMORISED: " : "", 100 * m.share, 100 * m.expected, features);
}

void throw_no_left_out(const MetricName& name) {
  throw ConfigError(fmt::format("{} needs images that training left out; --holdout leaves some out", name.text()));
}

Comparison::Comparison(std::shared_ptr<const ImageSet> reals, std::shared_ptr<const ImageSet> left_out,
                       std::vector<MetricName> names, ComparisonSettings settings)
    : reals_(std::move(reals)),
      left_out_(std::move(left_out)),
      names_(std::move(names)),
      settings_(std::move(settings)) {
  for (const MetricName& name : names_) {
    if (name.against == Against::left_out && !left_out_) throw_no_left_out(name);
    if (!name.network.empty()) extractor(name);
    if (name.metric->needs_lpips) lpips_heads(name);
  }
}

const FeatureExtractor& Comparison::extractor(const MetricName& name) {
  const Key key = key_of(name);
  if (const auto it = extractors_.find(key); it != extractors_.end()) return it->second;
  if (name.network == pixel_features) return extractors_.emplace(key, FeatureExtractor(name.variant)).first->second;
  const FeatureWeights weights = settings_.features.find(name.network);
  return extractors_.emplace(key, FeatureExtractor(weights, name.variant, settings_.type, settings_.device))
      .first->second;
}

const SafetensorsFile& Comparison::lpips_heads(const MetricName& name) {
  const auto known = heads_.find(name.network);
  if (known != heads_.end()) return known->second;
  return heads_.emplace(name.network, read_weights(heads_for(name.network, settings_.features))).first->second;
}

const Generator& Comparison::generator() {
  if (!generator_) throw ConfigError("a path length needs a network, not its images");
  return *generator_;
}

const ImageSet& Comparison::real_images(const MetricName& name) const {
  return name.against == Against::left_out ? *left_out_ : *reals_;
}

int64_t Comparison::real_count(const MetricName& name) const {
  const int64_t all = real_images(name).size();
  return name.against == Against::as_many || all == INT64_MAX ? std::min(name.fakes, all) : all;
}

FeatureTable Comparison::found(const FeatureExtractor& extractor, const ImageSet& images, int64_t count, Side side) {
  const int64_t total = std::min(count, images.size());
  FeatureTable table = extractor(images, count, side, [&](int64_t done) {
    if (settings_.progress) settings_.progress(images.name(), done, total);
  });
  if (table.features.rows == 0) throw IoError(fmt::format("{}: there is no image to measure", images.name()));
  return table;
}

// A file that is damaged, or cannot be written, costs the time that it would have saved.
FeatureTable Comparison::kept_or_found(const FeatureExtractor& extractor, const ImageSet& images, int64_t count) {
  const std::string key = settings_.cache.empty() ? "" : extractor.key(images, count, Side::reals);
  if (key.empty()) return found(extractor, images, count, Side::reals);
  const fs::path file = settings_.cache / (key + ".safetensors");
  try {
    if (fs::exists(file)) return features_from(read_safetensors(file), extractor.network().features());
  } catch (const std::exception&) {
  }
  FeatureTable table = found(extractor, images, count, Side::reals);
  try {
    make_directories(settings_.cache);
    write_safetensors(file, to_file(table));
  } catch (const std::exception&) {
  }
  return table;
}

const FeatureTable& Comparison::reals(const MetricName& name) {
  const int64_t count = real_count(name);
  const auto key = std::tuple(key_of(name), name.against == Against::left_out, count);
  if (const auto it = real_tables_.find(key); it != real_tables_.end()) return it->second;
  return real_tables_.emplace(key, kept_or_found(extractor(name), real_images(name), count)).first->second;
}

int64_t Comparison::most_fakes(const MetricName& name) const {
  int64_t most = name.fakes;
  for (const MetricName& other : names_)
    if (key_of(other) == key_of(name) && !other.metric->needs_generator) most = std::max(most, other.fakes);
  return most;
}

const FeatureTable& Comparison::fakes(const MetricName& name) {
  const Key key = key_of(name);
  auto it = fake_tables_.find(key);
  if (it == fake_tables_.end())
    it = fake_tables_
             .emplace(key, settings_.fakes ? settings_.fakes(extractor(name), most_fakes(name))
                                           : found(extractor(name), *fakes_, most_fakes(name), Side::fakes))
             .first;
  if (it->second.features.rows <= name.fakes) return it->second;
  return slices_.insert_or_assign(name.text(), it->second.first(name.fakes)).first->second;
}

MetricName Comparison::judge() const {
  for (const MetricName& name : names_)
    if (!name.network.empty() && name.metric->needs_reals && name.variant != Variant::freezed_legacy) {
      MetricName judge = name;
      judge.against = Against::all;  // a copy is of any training image
      return judge;
    }
  MetricName judge = parse_metric("fid", pixel_features);
  judge.fakes = 1000;
  for (const MetricName& name : names_) judge.fakes = std::min(judge.fakes, name.fakes);
  return judge;
}

Evaluation Comparison::operator()(std::shared_ptr<const ImageSet> fakes, const Generator* generator,
                                  const std::vector<MetricName>& names) {
  fakes_ = std::move(fakes);
  generator_ = generator;
  fake_tables_.clear();
  slices_.clear();
  Evaluation evaluation;
  const Stopwatch all;
  const auto attempt = [&](const std::string& name, const auto& body) {
    try {
      body();
    } catch (const SystemError&) {
      throw;
    } catch (const Error& e) {
      evaluation.failures.push_back(fmt::format("{}: {}", name, e.what()));
    }
  };
  for (const MetricName& name : names)
    attempt(name.text(), [&] {
      const Stopwatch one;
      MetricResult result{.name = name, .scores = measure(name, *this)};
      result.seconds = one.seconds();
      if (!name.network.empty()) {
        result.weights = extractor(name).weights();
        result.machine = fmt::format("{}, {}", settings_.device.name(), name_of(settings_.type));
      }
      evaluation.metrics.push_back(std::move(result));
    });
  attempt("copies", [&] {
    const MetricName judge = this->judge();
    const Matrix& train = this->reals(judge).features;
    if (train.rows < 4) return;
    if (!spacing_) {
      MetricName others = judge;
      others.against = Against::left_out;
      spacing_ = spacing(train, left_out_ ? this->reals(others).features : Matrix());
    }
    evaluation.memorising = memorising(train, *spacing_, this->fakes(judge).features);
    evaluation.memorising_in = judge.network;
  });
  evaluation.seconds = all.seconds();
  return evaluation;
}

Image Comparison::neighbours_sheet(const Evaluation& evaluation) const {
  const Nearest& nearest = evaluation.memorising->nearest;
  const MetricName judge = this->judge();
  const FeatureTable& train = real_tables_.at({key_of(judge), false, real_count(judge)});
  const FeatureTable& made = fake_tables_.at(key_of(judge));
  const size_t n = nearest.row.size(), columns = std::min<size_t>(12, n);
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return nearest.square[i]; });
  const auto rows = [&](const char* title, auto pick) {
    std::vector<Image> tiles;
    for (size_t i = 0; i < columns; ++i) tiles.push_back(fakes_->image(made.items[pick(i)]));
    for (size_t i = 0; i < columns; ++i) {
      const Image real = reals_->image(train.items[size_t(nearest.row[pick(i)])]);
      tiles.push_back(center_crop_resize(real, tiles[0].width, tiles[0].height));
    }
    return with_title(grid(tiles, int(columns)), title);
  };
  const Image parts[] = {
      rows("the nearest samples, and the training images that they are near to", [&](size_t i) { return order[i]; }),
      rows("the first samples, likewise", [](size_t i) { return i; })};
  return stack_vertical(parts);
}

}  // namespace firn
