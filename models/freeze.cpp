#include "models/freeze.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "models/files.h"

namespace firn {
namespace {

// The layers that can be frozen by count, front first.
std::vector<Discriminator::Layer> countable_layers(const Discriminator& d) {
  std::vector<Discriminator::Layer> layers = d.layers();
  std::erase_if(layers, [](const auto& layer) { return layer.head; });
  return layers;
}

std::vector<std::string> countable_blocks(const Discriminator& d) {
  std::vector<std::string> blocks;
  for (const auto& layer : countable_layers(d))
    if (blocks.empty() || blocks.back() != layer.block) blocks.push_back(layer.block);
  return blocks;
}

// "auto" or a number.
TextValue depth_value(int& blocks) {
  return {.get = [&] { return blocks < 0 ? "auto" : fmt::to_string(blocks); },
          .set =
              [&](const std::string& text) {
                if (text == "auto")
                  blocks = -1;
                else
                  set_from_text({.flag = "--freeze-d", .least = 0, .most = 64}, &blocks, {text});
              }};
}

[[noreturn]] void throw_too_many(int asked, const char* what, size_t there) {
  throw ConfigError(
      fmt::format("cannot freeze {} {} of the discriminator: it has {} before its head", asked, what, there));
}

void freeze_tensors(const FilterPattern& pattern, const Parameters& parameters) {
  const Parameters matching = parameters.matching(pattern.names_in(parameters));
  if (matching.without_buffers().size() == 0)
    throw ConfigError(fmt::format("freeze '{}': only buffers are called so, which are not trained", pattern.text));
  matching.freeze();
}

FreezeTable table_of(const Parameters& parameters) {
  FreezeTable table;
  for (const Parameter& p : parameters.without_buffers()) {
    table.rows.push_back({p.name(), file_shape(p), p.count(), p.frozen()});
    if (p.rows() && !p.frozen()) {
      table.rows.back().filters = p.value().dim(0);
      table.rows.back().frozen_filters = p.value().dim(0) - p.rows()->count();
    }
    table.total += p.count();
    table.frozen += p.count() - p.trains();
  }
  return table;
}

}  // namespace

void FreezeOptions::visit(OptionVisitor& v) {
  constexpr const char* group = "Where to start";
  v({.key = "blocks", .least = -1, .most = 64}, blocks);
  v({.flag = "--freeze-d",
     .help = "FreezeD: freeze the N first blocks of D, those of the highest resolutions, with what reads the images; "
             "auto: as many as short runs find to be best for images of --holdout",
     .group = group},
    depth_value(blocks));
  v({.key = "layers",
     .flag = "--freezed",
     .help = "freeze the first L layers of D, counted as stylegan2-ada-pytorch does",
     .group = group,
     .least = 0,
     .most = 64},
    layers);
  v({.key = "patterns",
     .flag = "--freeze",
     .help =
         "freeze by name: 'D:b64.*,b32.conv0' or 'G:mapping.*'; with filters behind the names only those of each "
         "layer: 'D:b32.conv0:0-31,40', or 'D:*:fisher>q50' those with more Fisher information on the new data than "
         "half of the layer (<q50: with less); may be repeated",
     .group = group},
    patterns);
  v({.key = "filters"}, filters);
  v({.key = "fresh"}, fresh);
  v({.key = "fisher_batches",
     .flag = "--fisher-batches",
     .help = "batches of the new data that Fisher information is estimated on, before training",
     .group = group,
     .least = 1,
     .most = 1e6},
    fisher_batches);
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

int freezable_blocks(const Discriminator& d) { return int(countable_blocks(d).size()); }

std::vector<std::string> freeze_d_blocks(const Discriminator& d, int blocks) {
  std::vector<std::string> names = countable_blocks(d);
  if (blocks < 0 || static_cast<size_t>(blocks) > names.size()) throw_too_many(blocks, "blocks", names.size());
  names.resize(static_cast<size_t>(blocks));
  for (const auto& layer : countable_layers(d))  // what reads the images may be called otherwise
    if (std::ranges::count(names, layer.block) && !layer.name.starts_with(layer.block + "."))
      names.push_back(layer.name);
  for (std::string& name : names) name += ".*";
  return names;
}

std::vector<std::string> freeze_d_layers(const Discriminator& d, int layers) {
  std::vector<std::string> patterns;
  for (const auto& layer : countable_layers(d)) patterns.push_back(layer.name + ".*");
  if (layers < 0 || static_cast<size_t>(layers) > patterns.size()) throw_too_many(layers, "layers", patterns.size());
  patterns.resize(static_cast<size_t>(layers));
  return patterns;
}

void apply(const FreezeOptions& options, const Generator& g, const Discriminator& d) {
  d.parameters().matching(freeze_d_blocks(d, std::max(options.blocks, 0))).freeze();
  d.parameters().matching(freeze_d_layers(d, options.layers)).freeze();
  g.parameters().matching(freeze_g_blocks(g, options.g_blocks, options.mapping)).freeze();
  std::vector<FilterPattern> lists;
  const auto parameters = [&](const FilterPattern& p) { return p.of_d ? d.parameters() : g.parameters(); };
  for (const auto& specs : {options.patterns, options.filters})
    for (const std::string& spec : specs) {
      const FilterPattern pattern(spec);
      if (!pattern.has_filters())
        freeze_tensors(pattern, parameters(pattern));
      else if (pattern.by_fisher())
        pattern.layers(parameters(pattern));  // that there are some
      else
        lists.push_back(pattern);
    }
  for (const FilterPattern& pattern : lists)
    for (const FilterLayer& layer : pattern.layers(parameters(pattern))) layer.freeze(pattern.listed(layer));
}

void train_fresh(const FreezeOptions& options, const Generator& g, const Discriminator& d) {
  for (const std::string& name : options.fresh) {
    if (!name.starts_with("D:") && !name.starts_with("G:"))
      throw ConfigError(fmt::format("freeze.fresh '{}': expected D: or G: before the name", printable(name)));
    const Parameters& parameters = name[0] == 'D' ? d.parameters() : g.parameters();
    if (const Parameter* p = parameters.find(name.substr(2))) Parameter(*p).set_frozen(false);
  }
}

std::vector<FilterPattern> filters_to_choose(const FreezeOptions& options) {
  std::vector<FilterPattern> patterns;
  for (const std::string& spec : options.patterns)
    if (FilterPattern pattern(spec); pattern.by_fisher()) patterns.push_back(std::move(pattern));
  return patterns;
}

double backward_flops(const Discriminator& d, bool as_trainable) {
  double flops = 0;
  bool reached = false;        // something trainable comes before this layer
  bool block_reached = false;  // ... or before its block, whose input the skip reads
  std::string block;
  for (const auto& layer : d.layers()) {
    const bool reads_images = layer.reads == Discriminator::Reads::images;
    const auto share = [&](const std::string& name) {
      const Parameter& p = *d.parameters().find(name);
      return as_trainable || p.modulated() ? 1 : double(p.trains()) / double(p.count());
    };
    const auto trains = [&](const std::string& name) { return share(name) > 0; };
    // Its bias alone costs no multiplication, but what is before a trainable bias is still passed.
    const bool trainable = std::ranges::any_of(layer.parameters, trains);
    if (layer.block != block) {
      block = layer.block;
      block_reached = reached;
    }
    flops += layer.flops * share(layer.parameters[0]);
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
  int64_t filters = 0, frozen_filters = 0;
  for (const auto& row : table.rows) {
    text += fmt::format("{:<{}}  {:>16}  {:>10}", row.name, widest, to_string(row.shape), row.count);
    if (row.frozen) text += "  frozen";
    if (row.filters) text += fmt::format("  {} of {} filters frozen", row.frozen_filters, row.filters);
    text += "\n";
    if (row.filters && row.shape.size() > 1) filters += row.filters, frozen_filters += row.frozen_filters;
  }
  text += fmt::format("{} of {} numbers train, {} are frozen", table.total - table.frozen, table.total, table.frozen);
  if (table.backward_removed > 0)
    text += fmt::format("; {:.1f} % of the backward multiplications are gone", 100 * table.backward_removed);
  if (filters) text += fmt::format("; {} of {} filters of layers that train are frozen", frozen_filters, filters);
  return text + "\n";
}

}  // namespace firn
