// The networks that a run began with, which methods compare with: roles that nothing trains. Snapshots name the file of
// --init and its hash, and hold them only with --embed-source.
#pragma once
#include "training/methods/method.h"

namespace firn {

// In prepare(): the role NAME_source beside G or D.
void keep_source(TrainState& state, const TrainOptions& options, std::string_view name);
const Generator& source_generator(const TrainState& state);
const Discriminator& source_discriminator(const TrainState& state);

// In check(): ConfigError where there is no --init.
void require_source(const TrainOptions& options, const char* method);

bool keeps_sources(const TrainState& state);
void fill_sources(TrainState& state);  // with what the roles hold now

// Before restore(): fills what the snapshot does not hold from options.init, in the way that the run began. IoError
// where that file is not there or another one.
void refill_sources(TrainState& state, const TrainOptions& options, const SafetensorsFile& snapshot);

// The first activations of D with at most so many rows, of images that have `height`; the last ones where none has.
std::string tap_of_rows(const Discriminator& d, int height, int rows);

// Activations of G and of the source's G for the same latents, in one call of a phase's terms.
class SourceTaps {
 public:
  SourceTaps(const Generator& now, const Generator& then, const std::vector<std::string>& at)
      : then_(then), now_taps_(now, at), then_taps_(then, at) {}
  // Once the phase has its images: runs the source's G, without a tape. Error where the phase does not say how.
  std::vector<std::pair<Tensor, Tensor>> of(const Made& fakes) const;

 private:
  const Generator& then_;
  Taps now_taps_, then_taps_;
};

// Adds `term` to the loss of each phase that trains `role` in every iteration, and reports it under `stat`.
void add_term(std::vector<Phase>& phases, std::string_view role, const std::string& stat,
              std::function<Tensor(const Inputs&, Rng*)> term);

}  // namespace firn
