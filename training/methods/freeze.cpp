#include "training/methods/freeze.h"

#include "base/error.h"
#include "training/methods/fisher.h"

namespace firn {
namespace {

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
          if (const TrainedRowsPtr rows = rows_of(trained[i]()))
            for (int32_t& n : numbers) n = rows->numbers[size_t(n)];
          if (!numbers.empty()) o.freeze.filters.push_back(to_pattern(pattern.of_d, layer, numbers));
        }
    }
  }
  apply(o.freeze, state.generator(), state.discriminator());
}

}  // namespace

Method freeze_method() {
  return {
      .name = "freeze",
      .chosen = [](const TrainOptions& o) { return o.freeze.blocks || o.freeze.layers || !o.freeze.patterns.empty(); },
      .prepare = [](TrainState& s, const TrainOptions& o) { apply(o.freeze, s.generator(), s.discriminator()); },
      .choose = choose};
}

}  // namespace firn
