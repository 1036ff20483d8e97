#include "training/methods/freeze.h"

#include <algorithm>

#include "models/registry.h"

namespace firn {
namespace {

void prepare(TrainState& s, const TrainOptions& o) { apply(o.freeze, s.generator(), s.discriminator()); }

// As the papers have it at 256 pixels, or as much as this model has of it.
void settle_d(TrainOptions& o, int blocks) {
  if (o.freeze.blocks > 0 || o.freeze.layers > 0) return;
  const ShapesOnly shapes;
  const auto d = make_discriminator(o.model, Device::cpu());
  std::vector<std::string> names;
  for (const auto& layer : d->layers())
    if (!layer.head && (names.empty() || names.back() != layer.block)) names.push_back(layer.block);
  o.freeze.blocks = std::min(blocks, int(names.size()));
}

void settle_g(TrainOptions& o, int blocks) {
  if (o.freeze.g_blocks > 0) return;
  const ShapesOnly shapes;
  o.freeze.g_blocks = std::min(blocks, int(make_generator(o.model, Device::cpu())->parts().blocks.size()) - 1);
}

}  // namespace

Method freeze_d_method() {
  return {.name = "freeze-d",
          .paper = "FreezeD: Mo et al. 2020, arXiv 2002.10964",
          .summary = "the blocks of D that are nearest to the images do not train: --freeze-d N [4]",
          .also_chosen = [](const TrainOptions& o) { return o.freeze.blocks || o.freeze.layers; },
          .settle = [](TrainOptions& o, const Overlay&) { settle_d(o, 4); },
          .prepare = prepare};
}

Method freeze_g_method() {
  return {.name = "freeze-g",
          .paper = "FreezeG: github.com/bryandlee/FreezeG",
          .summary = "the mapping network and the blocks of G of low resolution do not train: --freeze-g N [3]",
          .also_chosen = [](const TrainOptions& o) { return o.freeze.g_blocks > 0; },
          .settle = [](TrainOptions& o, const Overlay&) { settle_g(o, 3); },
          .prepare = prepare};
}

Method partial_method() {
  return {.name = "partial",
          .paper = "partial fine-tuning: Park et al. 2023",
          .summary = "freeze-g and freeze-d at once: --freeze-g N [4] and --freeze-d N [4]",
          .settle =
              [](TrainOptions& o, const Overlay&) {
                settle_d(o, 4);
                settle_g(o, 4);
              },
          .prepare = prepare};
}

Method freeze_method() {
  return {.name = "freeze",
          .summary = "what --freeze names does not train",
          .also_chosen = [](const TrainOptions& o) { return !o.freeze.patterns.empty(); },
          .prepare = prepare};
}

}  // namespace firn
