#include "training/methods/freeze.h"

#include <algorithm>

#include "base/error.h"
#include "models/registry.h"
#include "training/methods/fisher.h"

namespace firn {
namespace {

void prepare(TrainState& s, const TrainOptions& o) { apply(o.freeze, s.generator(), s.discriminator()); }

void check_depth(const TrainOptions& o) {
  if (!o.freeze.open()) return;
  if (o.init.empty()) throw ConfigError("--freeze-d auto freezes what a network has learnt; give --init FILE");
  if (!o.data.holdout.any())
    throw ConfigError(
        "--freeze-d auto compares depths by images that training does not see; --holdout N leaves some out");
}

// As the papers have it at 256 pixels, or as much as this model has of it.
void settle_d(TrainOptions& o, int blocks) {
  if (o.freeze.blocks != 0 || o.freeze.layers > 0) return;
  const ShapesOnly shapes;
  o.freeze.blocks = std::min(blocks, freezable_blocks(*make_discriminator(o.model, Device::cpu())));
}

void settle_g(TrainOptions& o, int blocks) {
  if (o.freeze.g_blocks > 0) return;
  const ShapesOnly shapes;
  o.freeze.g_blocks = std::min(blocks, int(make_generator(o.model, Device::cpu())->parts().blocks.size()) - 1);
}

// The mean over each filter that trains.
std::vector<double> by_filter(const Tensor& information) {
  const NoGrad no_grad;
  const int64_t filters = information.dim(0);
  return mean_axes(reshape(information, {filters, information.count() / filters}), {1}).to_doubles();
}

// Filters by Fisher information, as lists in the options.
void choose(TrainState& state, TrainOptions& o, const std::shared_ptr<const Dataset>& data) {
  const std::vector<FilterPattern> patterns = filters_to_choose(o.freeze);
  if (patterns.empty()) return;
  if (o.init.empty())
    throw ConfigError(
        fmt::format("freeze '{}': Fisher information is of a network that has learnt something; give "
                    "--init FILE",
                    patterns[0].text));
  for (const char* role : {"G", "D"}) {
    const Parameters trained = state.role(role).network->parameters().trainable();
    std::vector<Tensor> information;
    for (const FilterPattern& pattern : patterns) {
      if (pattern.of_d != (*role == 'D')) continue;
      if (information.empty()) information = fisher_information(state, o, role, data, o.freeze.fisher_batches);
      for (const FilterLayer& layer : pattern.layers(state.role(role).network->parameters()))
        for (size_t i = 0; i < information.size(); ++i) {
          if (trained[i].name() != layer.weight.name()) continue;
          std::vector<int32_t> numbers = pattern.chosen(by_filter(information[i]));
          if (const TrainedRowsPtr rows = rows_of(trained[i].value()))
            for (int32_t& n : numbers) n = rows->numbers[size_t(n)];
          if (!numbers.empty()) o.freeze.filters.push_back(to_pattern(pattern.of_d, layer, numbers));
        }
    }
  }
  apply(o.freeze, state.generator(), state.discriminator());
}

}  // namespace

Method freeze_d_method() {
  return {.name = "freeze-d",
          .paper = "FreezeD: Mo et al. 2020, arXiv 2002.10964",
          .summary = "the blocks of D that are nearest to the images do not train: --freeze-d N [4]",
          .also_chosen = [](const TrainOptions& o) { return o.freeze.blocks || o.freeze.layers; },
          .settle = [](TrainOptions& o, const Overlay&) { settle_d(o, 4); },
          .check = check_depth,
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

Method fisher_method() {
  return {.name = "fisher",
          .paper = "filters as in AdAM: Zhao et al. 2022, arXiv 2210.16559",
          .summary = "of each layer the filters that matter most to the source do not train: --freeze 'D:*:fisher>q50'",
          .settle = [](TrainOptions& o, const Overlay&) {
            if (filters_to_choose(o.freeze).empty())
              o.freeze.patterns.insert(o.freeze.patterns.end(), {"D:*:fisher>q50", "G:*:fisher>q50"});
          }};
}

Method freeze_method() {
  return {.name = "freeze",
          .summary = "what --freeze names does not train",
          .also_chosen = [](const TrainOptions& o) { return !o.freeze.patterns.empty(); },
          .check =
              [](const TrainOptions& o) {
                if (o.freeze.patterns.empty()) throw ConfigError("--method freeze: --freeze says what");
              },
          .prepare = prepare,
          .choose = choose,
          .grounds =
              [](const TrainOptions& o) {
                return filters_to_choose(o.freeze).empty() ? std::string() : grounds_of_fisher_information(o);
              }};
}

}  // namespace firn
