// Everything that changes while training, and that a snapshot therefore holds.
#pragma once
#include "engine/adam.h"
#include "io/loader.h"
#include "training/config.h"
#include "training/stats.h"

namespace firn {

struct Counters {
  int64_t images = 0;  // reals shown to D's main phase
  int64_t iteration = 0;
  int64_t tick = 0;        // ticks that are complete
  int64_t tick_start = 0;  // images when this tick began
  int64_t repaired = 0;    // gradient values that were not finite
  bool operator==(const Counters&) const = default;
};

enum class SeedUse { generator, discriminator, training, grid };
uint64_t seed_for(uint64_t seed, SeedUse use);

struct TrainState {
  // Fresh networks from options.seed, frozen as options say; the average starts as a copy of G.
  TrainState(const TrainOptions& options, const Device& device);

  const Device& device() const { return g.device(); }

  StyleGan2Generator g, ema;
  StyleGan2Discriminator d;
  Adam g_adam, d_adam;
  Tensor pl_mean;  // [1]
  struct {
    Parameters averages, current;
  } not_trained;  // what of G g_adam does not write: buffers and what is frozen
  Rng rng;
  DataPosition data;
  Counters counters;
  DeviceStats stats;  // of the tick under way

  // Brings counters.repaired up to date; waits for the device.
  void count_repaired() { counters.repaired = repaired_before + g_adam.repaired() + d_adam.repaired(); }
  int64_t repaired_before = 0;  // gradient values repaired by earlier processes of this run
};

// Adam for a network with a lazily regularised loss: one extra step every `interval` steps shares its state, so rate
// and decay are corrected by k = interval / (interval + 1) (Karras et al. 2020, arXiv 1912.04958, appendix B).
AdamOptions lazy_adam(const TrainOptions& options, int interval);

// Decay of the average for one iteration: half-life ema_kimg, at most `ramp` of what has been seen (ramp < 0: no
// limit).
double ema_decay(const TrainOptions& options, int64_t images_before);

bool all_finite(const Parameters& parameters);

}  // namespace firn
