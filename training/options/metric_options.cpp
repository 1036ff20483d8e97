#include "training/options/metric_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/text.h"
#include "metrics/comparison.h"

namespace firn {
namespace {

TextValue names_value(std::vector<std::string>& names) {
  return {.get = [&] { return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ",")); },
          .set =
              [&](const std::string& text) {
                names = text == "none" ? std::vector<std::string>{} : parts_of(text, ',');
                if (names.empty() && text != "none")
                  throw ConfigError("--metrics names no metric; none says that nothing is measured");
                for (const std::string& name : names) parse_metric(name);
              }};
}

// The first network that $FIRN_WEIGHTS has weights of; empty: none.
std::string available_network(std::initializer_list<const char*> wanted) {
  for (const char* name : wanted)
    if (!feature_file(feature_model(name)).empty()) return name;
  return {};
}
constexpr auto kNetworks = {"inception", "mobilenetv2", "efficientnet-lite1", "vgg16", "squeezenet"};

}  // namespace

void MetricOptions::visit(OptionVisitor& v) {
  constexpr const char* group = "Metrics";
  v({.key = "names",
     .flag = "--metrics",
     .help = "like fid5k_full,kid5k_full,prdc5k_full; none [FID with --features, else swd]",
     .group = group,
     .may_change = true},
    names_value(names));
  v({.key = "every",
     .flag = "--metric-every",
     .help = "ticks between evaluations [with each snapshot]",
     .group = group,
     .least = 0,
     .most = 1e9,
     .may_change = true},
    every);
  v({.key = "features",
     .flag = "--features",
     .help = "weights of a network that metrics use; may be repeated [by name in the folder $FIRN_WEIGHTS]",
     .group = group,
     .may_change = true},
    features);
  v({.key = "stop_when",
     .flag = "--stop-when",
     .help = "NAME:no-better:N ends the run after N evaluations in which that metric was not better",
     .group = group,
     .may_change = true},
    stop_when);
}

std::optional<StopWhen> stop_when(const MetricOptions& options) {
  if (options.stop_when.empty()) return std::nullopt;
  const auto wrong = [&] {
    return ConfigError(fmt::format("--stop-when {}: expected NAME:no-better:N, like fid5k_full:no-better:5",
                                   printable(options.stop_when, 60)));
  };
  const std::vector<std::string> parts = parts_of(options.stop_when, ':');
  if (parts.size() != 3 || parts[1] != "no-better") throw wrong();
  int n = 0;
  const auto [end, error] = std::from_chars(parts[2].data(), parts[2].data() + parts[2].size(), n);
  if (error != std::errc() || end != parts[2].data() + parts[2].size() || n < 1) throw wrong();
  return StopWhen{parts[0], n};
}

std::vector<std::string> default_metrics(const MetricOptions& options, double images_between_evaluations) {
  int64_t fakes = 5000;
  for (const int64_t nice : {2000, 1000, 500, 200, 100})
    if (double(fakes) > images_between_evaluations / 5) fakes = nice;
  const bool named = !weight_files(options.features).networks.empty();  // not only LPIPS's own weights
  std::string name = named ? "" : available_network(kNetworks);
  if (!name.empty()) name = "-" + name;
  return {fmt::format("{}{}_full{}", named || !name.empty() ? "fid" : "swd",
                      fakes % 1000 == 0 ? fmt::format("{}k", fakes / 1000) : fmt::to_string(fakes), name)};
}

void settle_networks(std::vector<std::string>& names, const WeightFiles& files) {
  if (!files.networks.empty()) return;
  for (std::string& name : names) {
    const MetricName own = parse_metric(name);
    if (own.network.empty() || own.network == pixel_features || own.variant == Variant::freezed_legacy ||
        !feature_file(feature_model(own.network)).empty())
      continue;
    const std::string other =
        own.metric->needs_lpips ? available_network({"vgg16", "squeezenet"}) : available_network(kNetworks);
    if (other.empty()) continue;
    if (const MetricName with = parse_metric(name, other); with.network == other) name = with.text();
  }
}

}  // namespace firn
