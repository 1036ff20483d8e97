// One training iteration: Gmain, Greg, Dmain, Dreg, each with its own latents and its own optimiser step, then the
// average.
#pragma once
#include <array>
#include <functional>

#include "training/state.h"

namespace firn {

// Runs `phase` on slices of at most `micro` samples, in order, and sums their gradients; scalars are sample means.
// Equal to one run on the whole where the network treats samples independently (minibatch-std does not).
PhaseResult accumulate(const PhaseInputs& whole, int64_t micro,
                       const std::function<PhaseResult(const PhaseInputs&)>& phase);

Tensor one_hot(std::span<const int> labels, int classes, DType type, const Device& device);  // undefined for 0 classes

class Iteration {
 public:
  // `loader` gives the reals, `dataset` the label distribution that generated labels are drawn from.
  Iteration(const TrainOptions& options, TrainState& state, const Dataset& dataset, Loader& loader)
      : options_(options), state_(state), dataset_(dataset), loader_(loader) {}

  void run();

  struct Timing {  // milliseconds
    const char* name;
    double last = 0, total = 0;
    int64_t runs = 0;
    double mean() const { return runs ? total / double(runs) : 0; }
  };
  const std::array<Timing, 4>& timings() const { return timings_; }

 private:
  PhaseInputs latents(int n);
  void g_main_step();
  void g_reg_step();
  void d_main_step();
  void d_reg_step();

  const TrainOptions& options_;
  TrainState& state_;
  const Dataset& dataset_;
  Loader& loader_;
  Tensor images_, labels_;  // reals of this iteration
  std::array<Timing, 4> timings_ = {{{"Gmain"}, {"Greg"}, {"Dmain"}, {"Dreg"}}};
};

}  // namespace firn
