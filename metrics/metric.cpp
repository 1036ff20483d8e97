#include "metrics/metric.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "metrics/measures/measures.h"

namespace firn {
namespace {

constexpr const char* kUsual = "inception";  // the network that names leave out, of metrics that mean it

// Takes digits, and a k for thousands, from the front.
std::optional<int64_t> take_count(std::string_view& text) {
  size_t n = 0;
  while (n < text.size() && std::isdigit(static_cast<unsigned char>(text[n]))) ++n;
  if (n == 0 || n > 9) return std::nullopt;
  int64_t value = std::stoll(std::string(text.substr(0, n)));
  text.remove_prefix(n);
  if (text.starts_with('k')) {
    value *= 1000;
    text.remove_prefix(1);
  }
  return value;
}

std::string count_text(int64_t n) { return n % 1000 == 0 ? fmt::format("{}k", n / 1000) : fmt::to_string(n); }

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// The metric whose longest name stands in front, which is taken.
const Metric* take_metric(std::string_view& text) {
  const Metric* found = nullptr;
  size_t length = 0;
  const auto consider = [&](const Metric& m, std::string_view name) {
    const auto ends = [&] {
      const int next = text.size() == name.size() ? 0 : static_cast<unsigned char>(text[name.size()]);
      const bool numbered = std::isdigit(static_cast<unsigned char>(name.back()));  // ppl200 is no ppl2
      return numbered ? !std::isalnum(next) : !std::isalpha(next);
    };
    if (name.size() <= length || !text.starts_with(name) || !ends()) return;
    found = &m;
    length = name.size();
  };
  for (const Metric& m : metrics()) {
    consider(m, m.name);
    for (const std::string& name : m.also) consider(m, name);
  }
  text.remove_prefix(length);
  return found;
}

std::string all_names() {
  std::string names;
  for (const Metric& m : metrics()) names += (names.empty() ? "" : ", ") + m.name;
  return names;
}

}  // namespace

const char* name_of(Better better) {
  return better == Better::lower ? "lower" : better == Better::higher ? "higher" : "neither";
}

const std::vector<Metric>& metrics() {
  static const std::vector<Metric> all = {
      fid(),   class_fid(), kid(),         inception_score(),     precision_recall(), prdc(), mind(),
      mifid(), swd(),       path_length(), cropped_path_length(), lpips_diversity(),  intra()};
  return all;
}

std::string MetricName::text() const {
  std::string text = metric->name;
  // ppl and ppl2: other programs leave the count out, and it must not run into the name.
  if (!metric->needs_generator || fakes != metric->fakes)
    text += fmt::format("{}{}", metric->needs_generator ? "_" : "", count_text(fakes));
  if (nearest > 0) text += fmt::format("{}{}", text.ends_with('k') ? "" : "n", nearest);
  if (metric->needs_reals) text += against == Against::all ? "_full" : against == Against::left_out ? "_holdout" : "";
  if (!option.empty()) text += "_" + option;
  if (!network.empty() && (network != kUsual || metric->network != kUsual)) text += "-" + network;
  if (!network.empty() && variant != Variant::standard) text += fmt::format("-{}", name_of(variant));
  return text;
}

MetricName parse_metric(std::string_view given, std::string_view network) {
  std::string_view text = given;
  const auto wrong = [&](const std::string& why) {
    return ConfigError(fmt::format("there is no metric {}: {}", printable(std::string(given), 60), why));
  };
  MetricName name;
  name.metric = take_metric(text);
  if (!name.metric) throw wrong(fmt::format("the metrics are {}", all_names()));
  const Metric& m = *name.metric;
  name.fakes = m.fakes;
  name.nearest = m.nearest;
  if (!m.options.empty()) name.option = m.options.front();
  if (text.size() > 1 && text[0] == '_' && std::isdigit(static_cast<unsigned char>(text[1]))) text.remove_prefix(1);
  const auto count = take_count(text);
  if (count) name.fakes = *count;
  if (m.nearest > 0) {
    take(text, "n");
    if (const auto nearest = take_count(text)) name.nearest = int(std::min<int64_t>(*nearest, 1000000));
  }
  if (m.needs_reals) {
    name.against = count ? Against::as_many : Against::all;
    if (take(text, "_full")) name.against = Against::all;
    if (take(text, "_holdout")) name.against = Against::left_out;
  }
  for (const std::string& option : m.options)
    if (take(text, "_" + option)) {
      name.option = option;
      break;
    }
  if (!m.network.empty()) name.network = network.empty() ? m.network : std::string(network);
  bool named = false;
  while (take(text, "-")) {
    bool known = false;
    for (const Variant v : {Variant::standard, Variant::clean, Variant::freezed_legacy})
      if (take(text, name_of(v))) {
        name.variant = v;
        known = true;
        break;
      }
    if (known) continue;
    // Names of networks have dashes too, and some begin as others are.
    std::string other(text.substr(0, text.find('-')));
    for (const FeatureModel& f : feature_models())
      if ((text == f.name || text.starts_with(f.name + "-")) && f.name.size() > other.size()) other = f.name;
    text.remove_prefix(other.size());
    if (m.network.empty()) throw wrong("it needs no network");
    if (std::exchange(named, true)) throw wrong("it names two networks");
    if (other != pixel_features) feature_model(other);
    name.network = other;
  }
  if (!text.empty()) throw wrong(fmt::format("'{}' at its end means nothing", printable(std::string(text), 40)));
  if (name.variant == Variant::freezed_legacy && name.network != kUsual)
    throw wrong("the variant freezed-legacy is of inception alone");
  if (name.fakes < 1 || (m.nearest > 0 && name.nearest < 1)) throw wrong("it counts nothing");
  return name;
}

std::vector<Score> measure(const MetricName& name, Material& material) {
  const Metric& m = *name.metric;
  const std::vector<double> values = m.measure(name, material);
  std::vector<Score> scores;
  for (size_t i = 0; i < m.values.size(); ++i)
    scores.push_back({name.text() + m.values[i].name, values[i], m.values[i].better});
  return scores;
}

}  // namespace firn
