#include "models/freeze.h"

#include <algorithm>

#include "base/error.h"
#include "models/files.h"

namespace firn {
namespace {

// The layers that can be frozen by count, front first.
std::vector<Discriminator::Layer> countable_layers(const Discriminator& d) {
  std::vector<Discriminator::Layer> layers = d.layers();
  std::erase_if(layers, [](const auto& layer) { return layer.head; });
  return layers;
}

[[noreturn]] void throw_too_many(int asked, const char* what, size_t there) {
  throw ConfigError(
      fmt::format("cannot freeze {} {} of the discriminator: it has {} before its head", asked, what, there));
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
  const Parameters matching = parameters.matching(patterns);
  if (matching.without_buffers().size() == 0)
    throw ConfigError(fmt::format("freeze '{}': only buffers are called so, which are not trained", spec));
  matching.freeze();
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

void FreezeOptions::visit(OptionVisitor& v) {
  constexpr const char* group = "Where to start";
  v({.key = "blocks",
     .flag = "--freeze-d",
     .help = "FreezeD: freeze the N first blocks of D, those of the highest resolutions, with what reads the images",
     .group = group,
     .least = 0,
     .most = 64},
    blocks);
  v({.key = "layers",
     .flag = "--freezed",
     .help = "freeze the first L layers of D, counted as stylegan2-ada-pytorch does",
     .group = group,
     .least = 0,
     .most = 64},
    layers);
  v({.key = "patterns",
     .flag = "--freeze",
     .help = "freeze by name: 'D:b64.*,b32.conv0' or 'G:mapping.*'; may be repeated",
     .group = group},
    patterns);
  v({.key = "g_blocks",
     .flag = "--freeze-g",
     .help = "FreezeG: freeze the N blocks of G of the lowest resolutions",
     .group = group,
     .least = 0,
     .most = 64},
    g_blocks);
  v({.key = "mapping",
     .flag = "--freeze-mapping,!--no-freeze-mapping",
     .help = "with --freeze-g: also the mapping network, as published",
     .group = group},
    mapping);
}

std::vector<std::string> freeze_g_blocks(const Generator& g, int blocks, bool mapping) {
  const Generator::Parts parts = g.parts();
  if (blocks < 0 || static_cast<size_t>(blocks) > parts.blocks.size())
    throw ConfigError(fmt::format("cannot freeze {} blocks of the generator: it has {}", blocks, parts.blocks.size()));
  std::vector<std::string> patterns;
  if (blocks > 0 && mapping) patterns = parts.mapping;
  for (int i = 0; i < blocks; ++i)
    patterns.insert(patterns.end(), parts.blocks[size_t(i)].begin(), parts.blocks[size_t(i)].end());
  return patterns;
}

std::vector<std::string> freeze_d_blocks(const Discriminator& d, int blocks) {
  std::vector<std::string> patterns;
  for (const auto& layer : countable_layers(d))
    if (patterns.empty() || patterns.back() != layer.block + ".*") patterns.push_back(layer.block + ".*");
  if (blocks < 0 || static_cast<size_t>(blocks) > patterns.size()) throw_too_many(blocks, "blocks", patterns.size());
  patterns.resize(static_cast<size_t>(blocks));
  return patterns;
}

std::vector<std::string> freeze_d_layers(const Discriminator& d, int layers) {
  std::vector<std::string> patterns;
  for (const auto& layer : countable_layers(d)) patterns.push_back(layer.name + ".*");
  if (layers < 0 || static_cast<size_t>(layers) > patterns.size()) throw_too_many(layers, "layers", patterns.size());
  patterns.resize(static_cast<size_t>(layers));
  return patterns;
}

void apply(const FreezeOptions& options, const Generator& g, const Discriminator& d) {
  d.parameters().matching(freeze_d_blocks(d, options.blocks)).freeze();
  d.parameters().matching(freeze_d_layers(d, options.layers)).freeze();
  g.parameters().matching(freeze_g_blocks(g, options.g_blocks, options.mapping)).freeze();
  for (const std::string& spec : options.patterns) {
    if (!spec.starts_with("D:") && !spec.starts_with("G:"))
      throw ConfigError(fmt::format("freeze '{}': expected D: or G: before the names", spec));
    freeze_patterns(spec, spec[0] == 'D' ? d.parameters() : g.parameters());
  }
}

double backward_flops(const Discriminator& d, bool as_trainable) {
  double flops = 0;
  bool reached = false;        // something trainable comes before this layer
  bool block_reached = false;  // ... or before its block, whose input the skip reads
  std::string block;
  for (const auto& layer : d.layers()) {
    const bool reads_images = layer.reads == Discriminator::Reads::images;
    const auto trains = [&](const std::string& name) { return as_trainable || !d.parameters().find(name)->frozen(); };
    // Its bias alone costs no multiplication, but what is before a trainable bias is still passed.
    const bool trainable = std::ranges::any_of(layer.parameters, trains);
    if (layer.block != block) {
      block = layer.block;
      block_reached = reached;
    }
    if (trains(layer.parameters[0])) flops += layer.flops;
    if (!reads_images && (layer.reads == Discriminator::Reads::block ? block_reached : reached)) flops += layer.flops;
    reached |= trainable;
    if (reads_images) block_reached |= reached;
  }
  return flops;
}

FreezeTable freeze_table(const Network& network) {
  FreezeTable table = table_of(network.parameters());
  if (const auto* d = dynamic_cast<const Discriminator*>(&network))
    table.backward_removed = 1 - backward_flops(*d) / backward_flops(*d, true);
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
