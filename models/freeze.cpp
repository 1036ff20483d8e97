#include "models/freeze.h"

#include <algorithm>

#include "base/error.h"
#include "models/weights.h"

namespace firn {
namespace {

std::string block_of(const std::string& layer) { return layer.substr(0, layer.find('.')); }

// The layers that can be frozen by count: all but those at 4x4, front first.
std::vector<std::string> countable_layers(const StyleGan2Discriminator& d) {
  std::vector<std::string> names;
  for (const auto& layer : d.layers())
    if (block_of(layer.name) != "b4") names.push_back(layer.name);
  return names;
}

[[noreturn]] void throw_too_many(int asked, const char* what, size_t there) {
  throw ConfigError(fmt::format("cannot freeze {} {} of the discriminator: it has {} above 4x4", asked, what, there));
}

void freeze_patterns(const std::string& spec, const Parameters& parameters) {
  std::vector<std::string> patterns;
  for (size_t begin = 2; begin <= spec.size();) {
    const size_t end = std::min(spec.find(',', begin), spec.size());
    std::string name = spec.substr(begin, end - begin);
    if (name.empty()) throw ConfigError(fmt::format("freeze '{}': a name is missing", spec));
    if (name.find_first_of("*?") == std::string::npos && !parameters.find(name)) name += ".*";
    patterns.push_back(std::move(name));
    begin = end + 1;
  }
  parameters.matching(patterns).freeze();
}

FreezeTable table_of(const Parameters& parameters) {
  FreezeTable table;
  for (const Parameter& p : parameters.without_buffers()) {
    table.rows.push_back({p.name(), file_shape(p), p.count(), p.frozen()});
    table.total += p.count();
    if (p.frozen()) table.frozen += p.count();
  }
  return table;
}

}  // namespace

std::vector<std::string> freeze_d_blocks(const StyleGan2Discriminator& d, int blocks) {
  std::vector<std::string> patterns;
  for (const std::string& layer : countable_layers(d)) {
    const std::string pattern = block_of(layer) + ".*";
    if (patterns.empty() || patterns.back() != pattern) patterns.push_back(pattern);
  }
  if (blocks < 0 || static_cast<size_t>(blocks) > patterns.size()) throw_too_many(blocks, "blocks", patterns.size());
  patterns.resize(static_cast<size_t>(blocks));
  return patterns;
}

std::vector<std::string> freeze_d_layers(const StyleGan2Discriminator& d, int layers) {
  std::vector<std::string> patterns = countable_layers(d);
  if (layers < 0 || static_cast<size_t>(layers) > patterns.size()) throw_too_many(layers, "layers", patterns.size());
  patterns.resize(static_cast<size_t>(layers));
  for (std::string& name : patterns) name += ".*";
  return patterns;
}

void apply(const FreezeOptions& options, const StyleGan2Generator& g, const StyleGan2Discriminator& d) {
  d.parameters().matching(freeze_d_blocks(d, options.blocks)).freeze();
  d.parameters().matching(freeze_d_layers(d, options.layers)).freeze();
  for (const std::string& spec : options.patterns) {
    if (!spec.starts_with("D:") && !spec.starts_with("G:"))
      throw ConfigError(fmt::format("freeze '{}': expected D: or G: before the names", spec));
    freeze_patterns(spec, spec[0] == 'D' ? d.parameters() : g.parameters());
  }
}

double backward_flops(const StyleGan2Discriminator& d, bool as_trainable) {
  double flops = 0;
  bool reached = false;        // something trainable comes before this layer
  bool block_reached = false;  // ... or before its block, whose input the skip reads
  std::string block;
  for (const auto& layer : d.layers()) {
    const bool from_rgb = layer.name.ends_with(".fromrgb");
    const auto trains = [&](const std::string& name) { return as_trainable || !d.parameters().find(name)->frozen(); };
    // Its bias alone costs no multiplication, but what is before a trainable bias is still passed.
    const bool trainable = std::ranges::any_of(layer.parameters, trains);
    if (block_of(layer.name) != block) {
      block = block_of(layer.name);
      block_reached = reached;
    }
    if (trains(layer.parameters[0])) flops += layer.flops;
    if (!from_rgb && (layer.name.ends_with(".skip") ? block_reached : reached)) flops += layer.flops;
    reached |= trainable;
    if (from_rgb) block_reached |= reached;
  }
  return flops;
}

FreezeTable freeze_table(const StyleGan2Generator& g) { return table_of(g.parameters()); }

FreezeTable freeze_table(const StyleGan2Discriminator& d) {
  FreezeTable table = table_of(d.parameters());
  table.backward_removed = 1 - backward_flops(d) / backward_flops(d, true);
  return table;
}

std::string to_string(const FreezeTable& table) {
  size_t widest = 4;
  for (const auto& row : table.rows) widest = std::max(widest, row.name.size());
  std::string text;
  for (const auto& row : table.rows)
    text += fmt::format("{:<{}}  {:>16}  {:>10}{}\n", row.name, widest, to_string(row.shape), row.count,
                        row.frozen ? "  frozen" : "");
  text += fmt::format("{} of {} numbers train, {} are frozen", table.total - table.frozen, table.total, table.frozen);
  if (table.backward_removed > 0)
    text += fmt::format("; {:.1f} % of the backward multiplications are gone", 100 * table.backward_removed);
  return text + "\n";
}

}  // namespace firn
