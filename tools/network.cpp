#include "tools/network.h"

#include <fmt/format.h>

#include "base/error.h"
#include "models/files.h"
#include "models/layers/latent_table.h"
#include "models/layers/miner.h"
#include "models/published.h"
#include "training/methods/glo.h"
#include "training/run/run_folder.h"
#include "training/state/snapshot.h"

namespace firn::tools {

LoadedGenerator load_generator(const std::filesystem::path& snapshot, const std::string& weights, DType activations,
                               const Device& device) {
  const SafetensorsFile file = read_networks(snapshot_file(snapshot));
  LoadedGenerator loaded{.g = nullptr, .source = source_model(file), .weights = {}};
  if (!loaded.source.g) throw IoError(fmt::format("{}: there is no G in it, nor G_ema", snapshot.string()));
  const std::string wish = weights.empty() ? "G_ema" : weights;
  loaded.weights = has_network(file, wish) ? wish : wish == "G" ? "G_ema" : "G";
  ModelSpec& model = loaded.source.model;
  if (model.type() == DType::f32) model.set_types(DType::f32, activations);
  {
    const ShapesOnly shapes;  // before memory is spent on what the file only claims
    check_network(*make_generator(model, Device::cpu()), file, loaded.weights);
  }
  loaded.g = make_generator(model, device.with({.activations = model.basics().activation_type}));
  const bool whole = load_network(*loaded.g, file, loaded.weights);
  if (const std::string miner = loaded.weights == "G_ema" ? "miner_ema" : "miner"; has_network(file, miner)) {
    const auto network = std::make_shared<Miner>(loaded.g->z_dim(), 0, loaded.g->type(), loaded.g->device());
    load_network(*network, file, miner);
    loaded.g->mine_with(network);
  }
  if (!whole) loaded.g->estimate_statistics();
  if (has_network(file, "latents")) {
    const Shape& shape = file.at("latents.weight").shape;
    if (shape.size() != 2 || shape[0] < 1 || shape[1] != loaded.g->z_dim())
      throw IoError(fmt::format("{}: latents.weight {} should be [N,{}]", snapshot.string(), to_string(shape),
                                loaded.g->z_dim()));
    const auto latents = std::make_shared<LatentTable>(shape[0], *loaded.g, 0);
    load_network(*latents, file, "latents");
    sample_as(snapshot_options(file.metadata, file.name).method<Glo>(), *loaded.g, latents);
  }
  return loaded;
}

}  // namespace firn::tools
