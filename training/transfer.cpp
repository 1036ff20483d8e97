#include "training/transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "models/weights.h"
#include "training/colours.h"
#include "training/snapshot.h"

namespace firn {
namespace {

// A toRGB or fromRGB whose file has images of other channels.
struct ColourLayer {
  bool reads_images;  // fromRGB
  int64_t features;
  int there, here;  // channels
  const StoredTensor &weight, &bias;
};

// `name`: of the weight or the bias. Nothing: no such layer, or the channels agree, or more than them differs.
std::optional<ColourLayer> colour_layer(const Parameters& parameters, const SafetensorsFile& file,
                                        const std::string& source, const std::string& name) {
  const std::string layer = name.substr(0, name.rfind('.')), there = source + "." + layer;
  const bool reads = layer.ends_with(".fromrgb");
  if (!reads && !layer.ends_with(".torgb")) return std::nullopt;
  const auto weight = file.tensors.find(there + ".weight"), bias = file.tensors.find(there + ".bias");
  if (weight == file.tensors.end() || bias == file.tensors.end()) return std::nullopt;
  const Shape here = file_shape(*parameters.find(layer + ".weight"));
  Shape stored = weight->second.shape, expected = here;
  const size_t axis = reads ? 1 : 0;
  if (stored.size() != 4 || !has_colour_map(int(std::clamp<int64_t>(stored[axis], 0, 5)), int(here[axis])))
    return std::nullopt;
  expected[axis] = stored[axis];
  if (stored != expected || bias->second.shape != Shape{stored[0]}) return std::nullopt;
  return ColourLayer{reads, here[1 - axis], int(stored[axis]), int(here[axis]), weight->second, bias->second};
}

// D then finds in an image what it found in that image converted to the source's channels: x -> D(convert(x)).
std::vector<double> carried_reader(const ColourLayer& l, bool bias) {
  const ColourMap convert(l.here, l.there);
  const std::vector<double> w = l.weight.to_doubles();  // [features, there]
  const auto at = [&](int64_t f, int c) { return w[size_t(f * l.there + c)]; };
  // Weights count by 1 / sqrt(channels) (equalised learning rates).
  if (bias) {
    std::vector<double> values = l.bias.to_doubles();
    for (int64_t f = 0; f < l.features; ++f)
      for (int c = 0; c < l.there; ++c)
        values[size_t(f)] += at(f, c) * convert.offset[size_t(c)] / std::sqrt(double(l.there));
    return values;
  }
  std::vector<double> values;
  for (int64_t f = 0; f < l.features; ++f)
    for (int n = 0; n < l.here; ++n) {
      double sum = 0;
      for (int c = 0; c < l.there; ++c) sum += at(f, c) * convert(c, n);
      values.push_back(sum * std::sqrt(double(l.here) / l.there));
    }
  return values;
}

// G then makes the source's images, converted. Images of several toRGB are added, so one of them alone adds the offset.
std::vector<double> carried_writer(const ColourLayer& l, bool bias, bool last) {
  const ColourMap convert(l.there, l.here);
  const std::vector<double> from = (bias ? l.bias : l.weight).to_doubles();  // [there], [there, features]
  const int64_t columns = bias ? 1 : l.features;
  std::vector<double> values;
  for (int n = 0; n < l.here; ++n)
    for (int64_t f = 0; f < columns; ++f) {
      double sum = bias && last ? convert.offset[size_t(n)] : 0;
      for (int c = 0; c < l.there; ++c) sum += convert(n, c) * from[size_t(c * columns + f)];
      values.push_back(sum);
    }
  return values;
}

std::string last_writer(const Parameters& parameters) {
  std::string last;
  for (const Parameter& p : parameters)
    if (p.name().ends_with(".torgb.bias")) last = p.name();
  return last;
}

TransferReport::Network transfer_network(const Parameters& parameters, const SafetensorsFile& file,
                                         const std::string& name, const std::string& source) {
  TransferReport::Network report{.name = name, .source = source};
  const std::string last = last_writer(parameters);
  for (const Parameter& p : parameters) {
    const auto it = file.tensors.find(source + "." + p.name());
    const bool bias = p.name().ends_with(".bias");
    if (it == file.tensors.end()) {
      report.fresh.emplace_back(p.name(), "not in the file");
    } else if (const auto layer = colour_layer(parameters, file, source, p.name());
               layer && (bias || p.name().ends_with(".weight"))) {
      require_finite(file, it->first);
      const std::vector<double> values =
          layer->reads_images ? carried_reader(*layer, bias) : carried_writer(*layer, bias, p.name() == last);
      load_file_order<double>(p, values);
      report.carried.emplace_back(p.name(), fmt::format("from {} to {} channels", layer->there, layer->here));
    } else if (it->second.shape != file_shape(p)) {
      const std::string reason =
          fmt::format("{} in the file, {} here", to_string(it->second.shape), to_string(file_shape(p)));
      report.fresh.emplace_back(p.name(), reason);
      report.skipped.emplace_back(p.name(), reason);
    } else {
      load(p, file, it->first);
      ++report.copied;
    }
  }
  for (auto it = file.tensors.lower_bound(source + ".");
       it != file.tensors.end() && it->first.starts_with(source + "."); ++it) {
    const std::string inner = it->first.substr(source.size() + 1);
    if (!inner.ends_with(".resample_filter") && !parameters.find(inner))
      report.skipped.emplace_back(inner, "not in this network");
  }
  return report;
}

// "D: b64.fromrgb.weight, b64.fromrgb.bias and 5 more"
std::string listed(const char* network, const std::vector<std::string>& names) {
  constexpr size_t shown = 6;
  const size_t n = names.size() <= shown + 1 ? names.size() : shown;
  std::string text = fmt::format("{}: {}", network, fmt::join(names.begin(), names.begin() + std::ptrdiff_t(n), ", "));
  if (n < names.size()) text += fmt::format(" and {} more", names.size() - n);
  return text;
}

// What is frozen, is no buffer, and `fresh` says of it that it was not copied.
std::string frozen_and_fresh(const TrainState& s, const auto& fresh) {
  std::vector<std::string> networks;
  for (const auto& [network, parameters] : {std::pair{"G", &s.g.parameters()}, {"D", &s.d.parameters()}}) {
    std::vector<std::string> names;
    for (const Parameter& p : *parameters)
      if (p.frozen() && !p.buffer() && fresh(network, p.name())) names.push_back(p.name());
    if (!names.empty()) networks.push_back(listed(network, names));
  }
  return fmt::format("{}", fmt::join(networks, "; "));
}

}  // namespace

TransferReport transfer(TrainState& s, const SafetensorsFile& file) {
  const std::string g = has_network(file, "G") ? "G" : "G_ema", ema = has_network(file, "G_ema") ? "G_ema" : "G";
  TransferReport report;
  report.networks.push_back(transfer_network(s.g.parameters(), file, "G", g));
  report.networks.push_back(transfer_network(s.d.parameters(), file, "D", "D"));
  update_average(s.ema.parameters(), s.g.parameters(), 0);  // what the file lacks starts equal to G
  report.networks.push_back(transfer_network(s.ema.parameters(), file, "G_ema", ema));
  if (report.networks[0].taken() + report.networks[1].taken() == 0)
    throw IoError(fmt::format("{}: no tensor of G or D fits this model by name and shape", file.name));
  return report;
}

void require_most(const TransferReport& report, const SourceModel& source, const StyleGan2Options& model) {
  for (const auto& n : report.networks) {
    if (!(n.name == "D" ? source.d : source.g)) continue;
    const int64_t taken = n.taken(), lost = int64_t(n.skipped.size()), fresh = int64_t(n.fresh.size());
    const int64_t most = taken + std::max(lost, fresh);
    if (10 * std::max(lost, fresh) <= most) continue;
    const std::string differences = shape_differences(source, model);
    throw ConfigError(fmt::format(
        "--init copies {} of {} tensors of {}, for the source has {}, or give --init-partial", taken, most, n.name,
        differences.empty() ? "no others that fit; take another" : differences + "; make that the same"));
  }
}

void require_frozen_copied(const TrainState& s) {
  const std::string names = frozen_and_fresh(s, [](auto&&...) { return true; });
  if (!names.empty())
    throw ConfigError(
        fmt::format("frozen but random, for there is no --init: {}; give --init FILE, or freeze nothing", names));
}

void require_frozen_copied(const TrainState& s, const TransferReport& report, const SourceModel& source) {
  const std::string names = frozen_and_fresh(s, [&](std::string_view network, const std::string& name) {
    const auto& fresh = report.networks[network == "G" ? 0 : 1].fresh;
    return std::ranges::any_of(fresh, [&](const auto& f) { return f.first == name; });
  });
  if (names.empty()) return;
  const std::string differences = shape_differences(source, s.g.options());
  throw ConfigError(fmt::format("frozen but not copied by --init, so random: {}; {}freeze only what is copied", names,
                                !source.d             ? "the file holds no D: "
                                : !source.g           ? "the file holds no G: "
                                : differences.empty() ? ""
                                                      : "the source has " + differences + "; make that the same, or "));
}

std::string to_string(const TransferReport& report) {
  constexpr size_t shown = 12;
  std::string text;
  const auto list = [&](const char* what, const auto& entries) {
    for (size_t i = 0; i < std::min(entries.size(), shown); ++i)
      text += fmt::format("  {:<18} {}: {}\n", what, printable(entries[i].first), entries[i].second);
    if (entries.size() > shown) text += fmt::format("  {:<18} and {} more\n", what, entries.size() - shown);
  };
  for (const auto& n : report.networks) {
    text += fmt::format("{:<6} from {:<6} {} copied, ", n.name, n.source, n.copied);
    if (!n.carried.empty()) text += fmt::format("{} carried over, ", n.carried.size());
    text += fmt::format("{} skipped, {} newly initialised\n", n.skipped.size(), n.fresh.size());
    list("carried over", n.carried);
    list("skipped", n.skipped);
    list("newly initialised", n.fresh);
  }
  return text;
}

}  // namespace firn
