#include "training/state.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace firn {
namespace {

StyleGan2Options seeded(StyleGan2Options model, uint64_t seed) {
  model.seed = seed;
  return model;
}

}  // namespace

uint64_t seed_for(uint64_t seed, SeedUse use) {  // splitmix64, so that no two uses share random numbers
  uint64_t x = seed * 8 + static_cast<uint64_t>(use) + 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

TrainState::TrainState(const TrainOptions& o, const Device& device)
    : g(seeded(o.model, seed_for(o.seed, SeedUse::generator)), device),
      ema(o.model, device),
      d([&] {
        StyleGan2Discriminator d(seeded(o.model, seed_for(o.seed, SeedUse::discriminator)), device);
        apply(o.freeze, g, d);  // before the optimisers: they hold what trains
        return d;
      }()),
      g_adam(g.parameters().trainable(), lazy_adam(o, o.loss.g_reg_interval)),
      d_adam(d.parameters().trainable(), lazy_adam(o, o.loss.d_reg_interval)),
      pl_mean(Tensor::zeros({1}, o.model.type, device)),
      rng{.seed = seed_for(o.seed, SeedUse::training)},
      stats(device) {
  if (g_adam.targets().empty() || d_adam.targets().empty())
    throw ConfigError(fmt::format("nothing of {} is left to train", g_adam.targets().empty() ? "G" : "D"));
  ema.parameters().freeze();
  Parameters averages;
  for (size_t i = 0; i < g.parameters().size(); ++i)
    if (const Parameter& p = g.parameters()[i]; !p.frozen()) {
      averages.add(ema.parameters()[i]);
    } else {
      not_trained.current.add(p);
      not_trained.averages.add(ema.parameters()[i]);
    }
  g_adam.keep_averages(averages);
  update_average(ema.parameters(), g.parameters(), 0);
}

AdamOptions lazy_adam(const TrainOptions& o, int interval) {
  const double k = interval > 0 ? interval / (interval + 1.0) : 1.0;
  return {.lr = o.lr * k, .beta1 = std::pow(o.beta1, k), .beta2 = std::pow(o.beta2, k)};
}

double ema_decay(const TrainOptions& o, int64_t images_before) {
  double half_life = o.ema_kimg * 1000;
  if (o.ema_ramp >= 0) half_life = std::min(half_life, double(images_before) * o.ema_ramp);
  return std::pow(0.5, o.batch / std::max(half_life, 1e-8));
}

bool all_finite(const Parameters& parameters) {
  for (const Parameter& p : parameters)
    for (const float v : p.value().to_floats())
      if (!std::isfinite(v)) return false;
  return true;
}

}  // namespace firn
