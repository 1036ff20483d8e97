#include "training/state/state.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "models/registry.h"
#include "training/augment/augment.h"
#include "training/methods/method.h"

namespace firn {
uint64_t seed_for(uint64_t seed, SeedUse use) {  // splitmix64, so that no two uses share random numbers
  uint64_t x = seed * 8 + static_cast<uint64_t>(use) + 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

Device device_for(const TrainOptions& o, const Device& device) {
  return device.with(
      {.activations = o.model.basics().activation_type, .tf32 = o.tf32, .deterministic = o.deterministic});
}

void Role::train(const AdamOptions& options) {
  adam.emplace(network->parameters().trainable(), options);
  lr = options.lr;
  if (adam->targets().empty()) throw ConfigError(fmt::format("nothing of {} is left to train", name));
  if (average) keep_average(std::move(average));
}

void Role::keep_average(std::shared_ptr<Network> to) {
  average = std::move(to);
  average->parameters().freeze();
  not_trained = {};
  Parameters averages;
  const Parameters &current = network->parameters(), &own = average->parameters();
  for (size_t i = 0; i < current.size(); ++i) {
    const bool trains = adam && !current[i].frozen();
    if (trains) averages.add(own[i]);
    if (trains && !current[i].rows()) continue;
    not_trained.current.add(current[i]);
    not_trained.averages.add(own[i]);
  }
  if (adam) adam->keep_averages(averages);
}

TrainState::TrainState(const TrainOptions& o, const Device& on)
    : rng{.seed = seed_for(o.seed, SeedUse::training)}, stats(device_for(o, on)) {
  const Device device = device_for(o, on);
  const Objective& objective = objective_of(o.model);
  const std::shared_ptr<Generator> g = make_generator(o.model.seeded(seed_for(o.seed, SeedUse::generator)), device);
  roles.emplace_back("G", g);
  if (objective.averages(o)) roles[0].average = make_generator(o.model, device);
  const std::shared_ptr<Discriminator> d =
      make_discriminator(o.model.seeded(seed_for(o.seed, SeedUse::discriminator)), device);
  roles.emplace_back("D", d);
  for (const Method* method : chosen_methods(o))  // before the optimisers: they hold what trains
    if (method->prepare) method->prepare(*this, o);
  train_fresh(o.freeze, *g, *d);
  for (size_t i = 2; i < roles.size(); ++i) roles[i].of_method = true;
  make_optimizers(o);
  for (const Role& role : roles)
    if (role.average) update_average(role.average->parameters(), role.network->parameters(), 0);
  for (auto& scalar : objective.scalars(o, device)) scalars.push_back(std::move(scalar));
  for (auto& scalar : augment_scalars(o, device)) scalars.push_back(std::move(scalar));
}

void TrainState::make_optimizers(const TrainOptions& o) {
  for (const char* name : {"G", "D"}) role(name).train(objective_of(o.model).adam(o, name));
}

Role& TrainState::role(std::string_view name) {
  for (Role& r : roles)
    if (r.name == name) return r;
  throw ConfigError(fmt::format("there is no network {} in this state", name));
}

const Role& TrainState::role(std::string_view name) const { return const_cast<TrainState*>(this)->role(name); }

Generator& TrainState::sampled() const {
  const Role& g = role("G");
  return static_cast<Generator&>(g.average ? *g.average : *g.network);
}

Tensor& TrainState::scalar(std::string_view name) {
  for (auto& [key, t] : scalars)
    if (key == name) return t;
  throw ConfigError(fmt::format("there is no scalar {} in this state", name));
}

int64_t TrainState::repaired_here() const {
  int64_t n = 0;
  for (const Role& r : roles)
    if (r.adam) n += r.adam->repaired();
  return n;
}

AdamOptions lazy_adam(const TrainOptions& o, int interval) {
  const double k = interval > 0 ? interval / (interval + 1.0) : 1.0;
  return {.lr = o.lr * k, .beta1 = std::pow(o.beta1, k), .beta2 = std::pow(o.beta2, k)};
}

double lr_share(const TrainOptions& o, int64_t images) {
  const double kimg = double(images) / 1000;
  if (o.lr_decay_kimg < 0 || kimg <= o.lr_decay_kimg) return 1;
  return std::max(0.0, (o.kimg - kimg) / (o.kimg - o.lr_decay_kimg));
}

double ema_decay(const TrainOptions& o, int64_t images_before, int64_t images) {
  double half_life = o.ema_kimg * 1000;
  if (o.ema_ramp >= 0) half_life = std::min(half_life, double(images_before) * o.ema_ramp);
  return std::pow(0.5, double(images) / std::max(half_life, 1e-8));
}

void settle_averages(TrainState& state) {
  for (Role& role : state.roles)
    if (auto* average = dynamic_cast<Generator*>(role.average.get())) average->estimate_statistics();
}

bool all_finite(const Parameters& parameters) {
  for (const Parameter& p : parameters)
    for (const float v : p.value().to_floats())
      if (!std::isfinite(v)) return false;
  return true;
}

}  // namespace firn
