#include "training/methods/fisher.h"

#include <fmt/format.h>

#include "training/objectives/objective.h"
#include "training/step/reals.h"

namespace firn {
namespace {

// What running phases moves besides weights, as it was.
class Untouched {
 public:
  explicit Untouched(TrainState& state) : state_(state), rng_(state.rng) {
    const NoGrad scope;
    for (const Role& role : state.roles)
      for (const Parameter& p : role.network->parameters())
        if (p.buffer()) keep(p.value());
    for (const auto& [name, value] : state.scalars) keep(value);
  }
  ~Untouched() {
    for (auto& [value, copy] : kept_) value.copy_from(copy);
    state_.rng = rng_;
  }
  Untouched(const Untouched&) = delete;
  Untouched& operator=(const Untouched&) = delete;

 private:
  void keep(const Tensor& value) {
    kept_.emplace_back(value, value.like());
    kept_.back().second.copy_from(value);
  }
  TrainState& state_;
  const Rng rng_;
  std::vector<std::pair<Tensor, Tensor>> kept_;
};

}  // namespace

std::vector<Tensor> fisher_information(TrainState& state, const TrainOptions& options, std::string_view role,
                                       const std::shared_ptr<const Dataset>& data, int batches) {
  const Untouched scope(state);
  const Unmined as_it_came(state.generator());
  TrainOptions plain = options;
  plain.cache_features = false;
  Reals reals(plain, state, data, {});
  std::vector<Phase> phases =
      objective_of(options.model)
          .phases({.options = plain, .state = state, .reals = &reals, .draw_label = [&](Rng& rng) {
                     return data->label(rng.integer(0, data->size()));
                   }});
  std::erase_if(phases, [&](const Phase& phase) { return phase.trains != role || phase.lazy; });
  state.discriminator().settle();
  std::vector<Tensor> squares;
  for (int i = 0; i < batches; ++i) {
    for (const Phase& phase : phases) {
      for (const auto& feed : phase.feeds) feed->refresh(state.rng);
      const std::vector<Tensor> gradients = run_phase(phase, state, phase.draw(state.rng), &state.rng).gradients;
      const NoGrad no_grad;
      squares.resize(gradients.size());
      for (size_t k = 0; k < gradients.size(); ++k) {
        const Tensor share = square(gradients[k]) * (1.0 / batches);
        squares[k] = squares[k].defined() ? squares[k] + share : share;
      }
    }
  }
  return squares;
}

std::string grounds_of_fisher_information(const TrainOptions& o) {
  return fmt::format("Fisher information on {} batches of {}", o.freeze.fisher_batches, o.batch);
}

}  // namespace firn
