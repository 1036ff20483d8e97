// A StyleGAN2 with its phases, run on batches that a test brings.
#pragma once
#include <algorithm>

#include "models/stylegan2/stylegan2.h"
#include "training/objectives/stylegan2.h"

namespace firn {

inline StyleGan2Options& model_of(TrainOptions& o) { return o.model.as<StyleGan2Options>(); }
inline const StyleGan2Options& model_of(const TrainOptions& o) { return o.model.as<StyleGan2Options>(); }
inline StyleGan2Loss& loss_of(TrainOptions& o) { return o.loss.as<StyleGan2Loss>(); }
inline const StyleGan2Loss& loss_of(const TrainOptions& o) { return o.loss.as<StyleGan2Loss>(); }

inline TrainOptions options_of(StyleGan2Options model, StyleGan2Loss loss = {}) {
  TrainOptions o;
  o.model = std::move(model);
  o.loss = loss;
  return o;
}

inline Inputs batch_of(const std::vector<std::pair<std::string, Tensor>>& tensors) {
  Inputs in;
  for (const auto& [name, t] : tensors) in.put(name, t);
  return in;
}

struct Subject {
  explicit Subject(TrainOptions o, const Device& device = Device::cpu())
      : options(std::move(o)), state(options, device), phases(phases_of({.options = options, .state = state})) {}
  explicit Subject(const StyleGan2Options& model, const Device& device = Device::cpu())
      : Subject(options_of(model), device) {}
  Subject(const Subject&) = delete;

  Phase& phase(std::string_view name) { return *std::ranges::find(phases, name, &Phase::name); }
  // `at_once`: samples of a micro-batch; 0: all. Noise is constant where nothing draws any.
  PhaseResult run(std::string_view name, const Inputs& in, int64_t at_once = 0, Rng* rng = nullptr) {
    phase(name).at_once = at_once ? at_once : in.size();
    return run_phase(phase(name), state, in, rng);
  }
  const Parameters& trained_by(std::string_view name) { return state.role(phase(name).trains).network->parameters(); }

  StyleGan2Generator& g() const { return dynamic_cast<StyleGan2Generator&>(state.generator()); }
  StyleGan2Discriminator& d() const { return dynamic_cast<StyleGan2Discriminator&>(state.discriminator()); }

  TrainOptions options;
  TrainState state;
  std::vector<Phase> phases;
};

}  // namespace firn
