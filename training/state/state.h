// Everything that changes while training, and that a snapshot therefore holds.
#pragma once
#include <memory>
#include <optional>

#include "engine/adam.h"
#include "io/loader.h"
#include "models/network.h"
#include "training/options/options.h"
#include "training/state/stats.h"

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

// The device as these options want its libraries to compute.
Device device_for(const TrainOptions& options, const Device& device);

// A network and what belongs to it. The average's prefix in files is NAME_ema.
struct Role {
  Role(std::string name, std::shared_ptr<Network> network)
      : name(std::move(name)), in_files(this->name), network(std::move(network)) {}

  // From now on the average follows the network: with the steps of Adam where that writes, else by update_average().
  void keep_average(std::shared_ptr<Network> average);
  void train(const AdamOptions& options);  // Adam over what is trainable now; ConfigError when nothing is
  std::string average_name() const { return name + "_ema"; }

  std::string name;
  std::string in_files;  // its prefix there: not its name where a method put in another kind of network
  std::shared_ptr<Network> network, average;  // the average may be null
  std::optional<Adam> adam;                   // none: it is only passed through
  double lr = 0;                              // of adam, before lr_share()
  bool of_method = false;                     // a method filled it, no source's weights do
  std::string source_of;                      // the role whose first weights it keeps (training/methods/source.h)
  struct {
    Parameters averages, current;
  } not_trained;  // what of the network Adam does not write: buffers and what is frozen, rows of tensors included
};

struct TrainState {
  // Fresh networks from options.seed, frozen as options say; averages start as copies.
  TrainState(const TrainOptions& options, const Device& device);

  void make_optimizers(const TrainOptions& options);  // of G and D, over what is trainable now

  const Device& device() const { return generator().device(); }
  Role& role(std::string_view name);
  const Role& role(std::string_view name) const;
  Generator& generator() const { return static_cast<Generator&>(*role("G").network); }
  Discriminator& discriminator() const { return static_cast<Discriminator&>(*role("D").network); }
  Generator& sampled() const;  // what images of this run are made with: G's average where it has one
  Tensor& scalar(std::string_view name);

  std::vector<Role> roles;
  std::vector<std::pair<std::string, Tensor>> scalars;  // running values on the device: pl_mean [1]
  Rng rng;
  DataPosition data;
  Counters counters;
  DeviceStats stats;  // of the tick under way

  // Brings counters.repaired up to date; waits for the device.
  void count_repaired() { counters.repaired = repaired_before + repaired_here(); }
  int64_t repaired_here() const;  // in this process
  int64_t repaired_before = 0;    // gradient values repaired by earlier processes of this run
};

// Adam for a network with a lazily regularised loss: one extra step every `interval` steps shares its state, so rate
// and decay are corrected by k = interval / (interval + 1) (Karras et al. 2020, arXiv 1912.04958, appendix B).
AdamOptions lazy_adam(const TrainOptions& options, int interval);

// Share of the learning rate after so many images (lr_decay_kimg).
double lr_share(const TrainOptions& options, int64_t images);

// Decay of the average for one iteration of so many images: half-life ema_kimg, at most `ramp` of what has been seen
// (ramp < 0: no limit).
double ema_decay(const TrainOptions& options, int64_t images_before, int64_t images);

void settle_averages(TrainState& state);  // statistics of averages that follow from their weights, before any use

bool all_finite(const Parameters& parameters);

}  // namespace firn
