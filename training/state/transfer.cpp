#include "training/state/transfer.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "models/files.h"
#include "training/state/colours.h"
#include "training/state/snapshot.h"

namespace firn {
namespace {

// A layer that writes or reads images, whose file has images of other channels.
struct ColourLayer {
  bool reads_images;
  double equalised;
  int64_t features, window;
  int there, here;  // channels
  const StoredTensor &weight, &bias;
};

bool any_matches(const std::vector<std::string>& patterns, const std::string& name) {
  return std::ranges::any_of(patterns, [&](const std::string& pattern) { return matches(name, pattern); });
}

// A layer's weights in a file, as one name or the other has them.
auto find_weights(auto& tensors, const std::string& layer) {
  const auto it = tensors.find(layer + ".weight");
  return it != tensors.end() ? it : tensors.find(layer + ".weight_orig");
}

// `name`: of the weight or the bias. Nothing: no such layer, or the channels agree, or more than them differs, or
// windows that reach over the border would need another value there, or a bias would depend on sigma.
std::optional<ColourLayer> colour_layer(const Model& model, const Parameters& parameters, const SafetensorsFile& file,
                                        const std::string& source, const std::string& name) {
  const std::string layer = name.substr(0, name.rfind('.')), there = source + "." + layer;
  const bool reads = any_matches(model.readers, layer);
  if (!reads && !any_matches(model.writers, layer)) return std::nullopt;
  if (layer_of_weights(name).empty() && name != layer + ".bias") return std::nullopt;
  const auto weight = find_weights(file.tensors, there), bias = file.tensors.find(there + ".bias");
  if (weight == file.tensors.end() || bias == file.tensors.end()) return std::nullopt;
  const Parameter* own = parameters.find(weight->first.substr(source.size() + 1));
  if (!own) return std::nullopt;
  const Shape here = file_shape(*own);
  Shape stored = weight->second.shape, expected = here;
  const size_t axis = reads ? 1 : 0;
  if (stored.size() != 4 || here.size() != 4 ||
      !has_colour_map(int(std::clamp<int64_t>(stored[axis], 0, 5)), int(here[axis])))
    return std::nullopt;
  expected[axis] = stored[axis];
  if (stored != expected || bias->second.shape != Shape{stored[0]}) return std::nullopt;
  if (reads && (here[2] > 1 || model.spectral) &&
      std::ranges::any_of(ColourMap(int(here[axis]), int(stored[axis])).offset, std::identity{}))
    return std::nullopt;
  return ColourLayer{reads,           model.equalised, here[1 - axis], here[2] * here[3], int(stored[axis]),
                     int(here[axis]), weight->second,  bias->second};
}

// D then finds in an image what it found in that image converted to the source's channels: x -> D(convert(x)); with
// spectral normalisation only up to a factor of the layer, whose sigma is another.
std::vector<double> carried_reader(const ColourLayer& l, bool bias) {
  const ColourMap convert(l.here, l.there);
  const std::vector<double> w = l.weight.to_doubles();  // [features, there, window]
  const auto at = [&](int64_t f, int c, int64_t k) { return w[size_t((f * l.there + c) * l.window + k)]; };
  if (bias) {
    std::vector<double> values = l.bias.to_doubles();
    for (int64_t f = 0; f < l.features; ++f)
      for (int c = 0; c < l.there; ++c)
        values[size_t(f)] +=
            at(f, c, 0) * convert.offset[size_t(c)] * (l.equalised > 0 ? l.equalised / std::sqrt(double(l.there)) : 1);
    return values;
  }
  std::vector<double> values;
  for (int64_t f = 0; f < l.features; ++f)
    for (int n = 0; n < l.here; ++n)
      for (int64_t k = 0; k < l.window; ++k) {
        double sum = 0;
        for (int c = 0; c < l.there; ++c) sum += at(f, c, k) * convert(c, n);
        values.push_back(sum * (l.equalised > 0 ? std::sqrt(double(l.here) / l.there) : 1));
      }
  return values;
}

// G then makes the source's images, converted (before a tanh, where there is one: exact unless colours are mixed).
// Images of several writers are added, so one of them alone adds the offset.
std::vector<double> carried_writer(const ColourLayer& l, bool bias, bool last) {
  const ColourMap convert(l.there, l.here);
  const std::vector<double> from = (bias ? l.bias : l.weight).to_doubles();  // [there], [there, features, window]
  const int64_t columns = bias ? 1 : l.features * l.window;
  std::vector<double> values;
  for (int n = 0; n < l.here; ++n)
    for (int64_t f = 0; f < columns; ++f) {
      double sum = bias && last ? convert.offset[size_t(n)] : 0;
      for (int c = 0; c < l.there; ++c) sum += convert(n, c) * from[size_t(c * columns + f)];
      values.push_back(sum);
    }
  return values;
}

std::string last_writer(const Model& model, const Parameters& parameters) {
  std::string last;
  for (const Parameter& p : parameters)
    if (const std::string& name = p.name();
        name.ends_with(".bias") && any_matches(model.writers, name.substr(0, name.rfind('.'))))
      last = name;
  return last;
}

// Of a tensor that depends on the classes, where those are others; null: of any other.
class ClassRules {
 public:
  ClassRules(const Model& model, std::string role, bool other_classes)
      : model_(model), role_(std::move(role)), other_classes_(other_classes) {}
  const ClassTensor* operator()(const std::string& name) const {
    for (const ClassTensor& t : model_.class_tensors)
      if (other_classes_ && matches(role_ + "." + name, t.pattern)) return &t;
    return nullptr;
  }

 private:
  const Model& model_;
  std::string role_;
  bool other_classes_;
};

// What another network's tensor becomes where the classes are others, and a word about it; nothing: it is of no use.
struct Carried {
  std::vector<double> values;
  std::string how;
  bool partly = false;  // some of them are fresh
};
std::optional<Carried> carried_classes(const ClassTensor& t, const Parameter& here, const StoredTensor& there,
                                       const Model& model, const TransferOptions& how) {
  const Shape want = file_shape(here), have = there.shape;
  const std::vector<double> from = there.to_doubles();
  std::vector<double> to = to_file_order<double>(here);
  if (t.kind == ClassTensor::Kind::grown) {
    if (want.size() != 2 || have.size() != 2 || want[0] != have[0]) return std::nullopt;
    if (std::abs(want[1] - have[1]) != want[0]) return std::nullopt;  // an embedding is as wide as its layer
    const double gain = model.equalised > 0 ? std::sqrt(double(want[1]) / double(have[1])) : 1;
    for (int64_t o = 0; o < want[0]; ++o)
      for (int64_t i = 0; i < want[1]; ++i)
        to[size_t(o * want[1] + i)] = i < have[1] ? gain * from[size_t(o * have[1] + i)] : 0;
    return Carried{to, want[1] > have[1] ? "classes make no difference yet" : "without its classes"};
  }
  if (t.kind != ClassTensor::Kind::table) return std::nullopt;
  const auto axis = size_t(t.axis);
  const auto rest = [&](const Shape& shape, size_t skip) {
    Shape r = shape;
    r.erase(r.begin() + std::ptrdiff_t(skip));
    return r;
  };
  if (have.size() + 1 == want.size() && axis == 0 && rest(want, 0) == have) {
    for (size_t i = 0; i < to.size(); ++i) to[i] = from[i % from.size()];
    return Carried{to, "the same for all classes"};
  }
  if (want.size() + 1 == have.size() && axis == 0 && rest(have, 0) == want) {
    std::ranges::fill(to, 0);
    for (size_t i = 0; i < from.size(); ++i) to[i % to.size()] += from[i] / double(have[0]);
    return Carried{to, "the mean of all classes"};
  }
  if (have.size() != want.size() || have.size() <= axis || rest(have, axis) != rest(want, axis)) return std::nullopt;
  if (how.class_map.empty()) return std::nullopt;
  int64_t inner = 1;
  for (size_t i = axis + 1; i < want.size(); ++i) inner *= want[i];
  const int64_t outer = count(want) / (inner * want[axis]);
  const double gain = model.equalised > 0 && axis == 1 ? std::sqrt(double(want[1]) / double(have[1])) : 1;
  for (const auto& [old, now] : how.class_map)
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < inner; ++i)
        to[size_t((o * want[axis] + now) * inner + i)] = gain * from[size_t((o * have[axis] + old) * inner + i)];
  return Carried{to, fmt::format("{} of {} classes", how.class_map.size(), want[axis]),
                 std::ssize(how.class_map) < want[axis]};
}

TransferReport::Network transfer_network(const Model& model, const Network& network, const SafetensorsFile& file,
                                         const std::string& name, const std::string& source, const TransferOptions& how,
                                         const ClassRules& class_tensor) {
  const Parameters& parameters = network.parameters();
  TransferReport::Network report{.name = name, .source = source};
  const std::string last = last_writer(model, parameters);
  for (const Parameter& p : parameters) {
    const auto it = file.tensors.find(source + "." + p.name());
    const bool bias = p.name().ends_with(".bias");
    const ClassTensor* by_class = class_tensor(p.name());
    const auto stays_fresh = [&](const std::string& reason) {
      report.fresh.emplace_back(p.name(), reason);
      report.expected_fresh += by_class != nullptr;
    };
    if (it == file.tensors.end() && p.addition()) continue;
    if (it == file.tensors.end()) {
      stays_fresh("not in the file");
      continue;
    }
    if (p.buffer() && !how.buffers) {
      report.fresh.emplace_back(p.name(), "a buffer");
      ++report.expected_fresh;
      continue;
    }
    const bool fits = it->second.shape == file_shape(p);
    const bool mapped = by_class && by_class->kind == ClassTensor::Kind::table && !how.class_map.empty();
    if (const auto layer = colour_layer(model, parameters, file, source, p.name())) {
      require_finite(file, it->first);
      load_file_order<double>(
          p, layer->reads_images ? carried_reader(*layer, bias) : carried_writer(*layer, bias, p.name() == last));
      report.carried.emplace_back(p.name(), fmt::format("from {} to {} channels", layer->there, layer->here));
    } else if (fits && !mapped) {
      load(p, file, it->first);
      ++report.copied;
    } else {
      std::optional<Carried> carried;
      if (by_class) {
        require_finite(file, it->first);
        carried = carried_classes(*by_class, p, it->second, model, how);
      }
      if (carried) {
        load_file_order<double>(p, carried->values);
        report.carried.emplace_back(p.name(), carried->how);
        if (carried->partly) report.partly_fresh.push_back(p.name());
        continue;
      }
      const std::string reason =
          fmt::format("{} in the file, {} here", to_string(it->second.shape), to_string(file_shape(p)));
      stays_fresh(reason);
      report.skipped.emplace_back(p.name(), reason);
      report.expected_skipped += by_class != nullptr;
    }
  }
  for (auto it = file.tensors.lower_bound(source + ".");
       it != file.tensors.end() && it->first.starts_with(source + "."); ++it) {
    const std::string inner = it->first.substr(source.size() + 1);
    if (network.constant(inner) || parameters.find(inner)) continue;
    report.skipped.emplace_back(inner, "not in this network");
    report.expected_skipped += class_tensor(inner) != nullptr;
  }
  return report;
}

// "D: b64.fromrgb.weight, b64.fromrgb.bias and 5 more"
std::string listed(const std::string& network, const std::vector<std::string>& names) {
  constexpr size_t shown = 6;
  const size_t n = names.size() <= shown + 1 ? names.size() : shown;
  std::string text = fmt::format("{}: {}", network, fmt::join(names.begin(), names.begin() + std::ptrdiff_t(n), ", "));
  if (n < names.size()) text += fmt::format(" and {} more", names.size() - n);
  return text;
}

bool is_fresh(const TransferReport& report, std::string_view network, const std::string& name) {
  const auto& of = *std::ranges::find(report.networks, network, &TransferReport::Network::name);
  return std::ranges::any_of(of.fresh, [&](const auto& f) { return f.first == name; }) ||
         std::ranges::count(of.partly_fresh, name) > 0;
}

// What is frozen, is no buffer, and `fresh` says of it that it was not copied: {network, names}.
std::vector<std::pair<std::string, std::vector<std::string>>> frozen_and_fresh(const TrainState& s, const auto& fresh) {
  std::vector<std::pair<std::string, std::vector<std::string>>> networks;
  for (const Role& role : s.roles) {
    std::vector<std::string> names;
    if (role.of_method) continue;
    for (const Parameter& p : role.network->parameters())
      if (p.trains() < p.count() && !p.buffer() && !p.addition() && fresh(role.name, p.name()))
        names.push_back(p.name());
    if (!names.empty()) networks.emplace_back(role.name, std::move(names));
  }
  return networks;
}

std::string listed(const std::vector<std::pair<std::string, std::vector<std::string>>>& networks) {
  std::vector<std::string> parts;
  for (const auto& [network, names] : networks) parts.push_back(listed(network, names));
  return fmt::format("{}", fmt::join(parts, "; "));
}

constexpr std::string_view modulation_suffix = ".modulate_out";

bool is_modulation(const std::string& name) {
  return name.ends_with(modulation_suffix) && !name.starts_with("state.");  // of a network, not of its optimiser
}

// The file with modulated weights as they count, W (1 + out x in), and without what modulates them.
SafetensorsFile without_modulation(const SafetensorsFile& file) {
  SafetensorsFile plain = file;
  for (const auto& [name, out] : file.tensors) {
    if (!is_modulation(name)) continue;
    const std::string layer = name.substr(0, name.size() - modulation_suffix.size());
    const auto weight = find_weights(plain.tensors, layer), in = plain.tensors.find(layer + ".modulate_in");
    if (weight == plain.tensors.end() || in == plain.tensors.end() || in->second.count() == 0 ||
        weight->second.count() != out.count() * in->second.count())
      throw IoError(fmt::format("{}: {} does not go with a weight and {}.modulate_in", file.name, printable(name),
                                printable(layer)));
    std::vector<double> values = weight->second.to_doubles();
    const std::vector<double> rows = out.to_doubles(), columns = in->second.to_doubles();
    for (size_t i = 0; i < values.size(); ++i) values[i] *= 1 + rows[i / columns.size()] * columns[i % columns.size()];
    StoredTensor& to = weight->second;
    to = to.dtype == "F64" ? StoredTensor::of(values, to.shape)
                           : StoredTensor::of(std::vector<float>(values.begin(), values.end()), to.shape);
    plain.tensors.erase(in);
    plain.tensors.erase(name);
  }
  return plain;
}

bool is_modulated(const SafetensorsFile& file) {
  return std::ranges::any_of(file.tensors, [](const auto& t) { return is_modulation(t.first); });
}

void check_class_map(const TransferOptions& how, int there, int here) {
  std::vector<bool> taken(size_t(std::max(here, 0)));
  for (const auto& [old, now] : how.class_map) {
    if (there == 0 || here == 0)
      throw ConfigError(fmt::format("--class-map: {} has no classes", here == 0 ? "this model" : "the source"));
    if (old >= there || now >= here)
      throw ConfigError(fmt::format("--class-map {}={}: the source has classes 0 to {}, this model 0 to {}", old, now,
                                    there - 1, here - 1));
    if (taken[size_t(now)]) throw ConfigError(fmt::format("--class-map {}={}: class {} comes twice", old, now, now));
    taken[size_t(now)] = true;
  }
}

}  // namespace

std::vector<std::pair<int, int>> parse_class_map(const std::string& text) {
  std::vector<std::pair<int, int>> map;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const size_t equals = part.find('=');
    const auto number = [&](const std::string& digits) {
      if (equals == part.npos || digits.empty() || digits.size() > 5 ||
          digits.find_first_not_of("0123456789") != digits.npos)
        throw ConfigError(fmt::format("--class-map {}: expected OLD=NEW,..., like 3=0,7=1", printable(text, 40)));
      return std::stoi(digits);
    };
    map.emplace_back(number(part.substr(0, equals)), number(part.substr(std::min(equals + 1, part.size()))));
    begin = end + 1;
  }
  return map;
}

TransferOptions transfer_options(const TrainOptions& o) {
  return {.class_map = o.class_map.empty() ? std::vector<std::pair<int, int>>{} : parse_class_map(o.class_map),
          .buffers = !o.init_without_buffers};
}

TransferReport transfer(TrainState& s, const TrainOptions& o, const SafetensorsFile& given,
                        const TransferOptions& how) {
  const Model& m = model(o.model.kind());
  const ModelSpec source = source_model(given).model;
  std::optional<SafetensorsFile> plain;
  if (is_modulated(given)) plain = without_modulation(given);
  const SafetensorsFile& file = plain ? *plain : given;
  if (source.kind() != o.model.kind())
    throw ConfigError(fmt::format("{} holds networks of {}, not of {}; give --model {}, or leave it out", file.name,
                                  model(source.kind()).title, m.title, source.kind()));
  const int there = source.classes(), here = o.model.classes();
  check_class_map(how, there, here);
  const bool other_classes = !how.class_map.empty() || there != here;
  const auto class_rules = [&](const Role& role) { return ClassRules(m, role.name, other_classes); };
  TransferReport report;
  int64_t taken = 0;
  for (const Role& role : s.roles) {
    if (role.of_method) continue;
    const std::string ema = role.average_name();
    const std::string from = !has_network(file, role.name) && has_network(file, ema) ? ema : role.name;
    report.networks.push_back(transfer_network(m, *role.network, file, role.name, from, how, class_rules(role)));
    taken += report.networks.back().taken();
  }
  for (const Role& role : s.roles) {
    if (!role.average || role.of_method) continue;
    const std::string ema = role.average_name(), from = has_network(file, ema) ? ema : role.name;
    update_average(role.average->parameters(), role.network->parameters(), 0);  // what the file lacks is as the network
    report.networks.push_back(transfer_network(m, *role.average, file, ema, from, how, class_rules(role)));
  }
  if (taken == 0) throw IoError(fmt::format("{}: no tensor of G or D fits this model by name and shape", file.name));
  return report;
}

void require_most(const TransferReport& report, const SourceModel& source, const ModelSpec& model) {
  for (const auto& n : report.networks) {
    if (!(n.name == "D" ? source.d : source.g)) continue;
    const int64_t taken = n.taken(), lost = int64_t(n.skipped.size()) - n.expected_skipped,
                  fresh = int64_t(n.fresh.size()) - n.expected_fresh;
    const int64_t most = taken + std::max(lost, fresh);
    if (10 * std::max(lost, fresh) <= most) continue;
    const std::string differences = shape_differences(source, model);
    throw ConfigError(fmt::format(
        "--init copies {} of {} tensors of {}, for the source has {}, or give --init-partial", taken, most, n.name,
        differences.empty() ? "no others that fit; take another" : differences + "; make that the same"));
  }
}

std::vector<std::string> train_new_classes(TrainState& s, TrainOptions& o, const TransferReport& report) {
  const std::vector<ClassTensor>& rules = model(o.model.kind()).class_tensors;
  const auto is_new_table = [&](std::string_view network, const std::string& name) {
    return is_fresh(report, network, name) && std::ranges::any_of(rules, [&](const ClassTensor& t) {
             return t.kind == ClassTensor::Kind::table && matches(fmt::format("{}.{}", network, name), t.pattern);
           });
  };
  std::vector<std::string> all;
  for (const auto& [network, names] : frozen_and_fresh(s, is_new_table))
    for (const std::string& name : names) {
      all.push_back(name);
      o.freeze.fresh.push_back(fmt::format("{}:{}", network, name));
    }
  if (all.empty()) return all;
  train_fresh(o.freeze, s.generator(), s.discriminator());
  s.make_optimizers(o);
  return all;
}

void require_frozen_copied(const TrainState& s) {
  const std::string names = listed(frozen_and_fresh(s, [](auto&&...) { return true; }));
  if (!names.empty())
    throw ConfigError(
        fmt::format("frozen but random, for there is no --init: {}; give --init FILE, or freeze nothing", names));
}

void require_frozen_copied(const TrainState& s, const TrainOptions& o, const TransferReport& report,
                           const SourceModel& source) {
  const Discriminator& d = s.discriminator();
  const FrozenScope at_most(d.parameters().matching(freeze_d_blocks(d, o.freeze.open() ? freezable_blocks(d) : 0)));
  const std::string names = listed(frozen_and_fresh(
      s, [&](std::string_view network, const std::string& name) { return is_fresh(report, network, name); }));
  if (names.empty()) return;
  const std::string differences = shape_differences(source, o.model);
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
