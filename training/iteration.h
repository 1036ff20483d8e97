// One training iteration: Gmain, Greg, Dmain, Dreg, each with its own latents and its own optimiser step, then the
// average. On a GPU each phase is recorded once and replayed: what differs from one run to the next is put into device
// memory before, and nothing is read back.
#pragma once
#include <array>
#include <functional>

#include "engine/replay.h"
#include "kernels/device/timer.h"
#include "training/reals.h"

namespace firn {

// Runs `phase` on slices of at most `micro` samples, in order, and sums their gradients; scalars are sample means.
// Equal to one run on the whole where the network treats samples independently (minibatch-std does not).
PhaseResult accumulate(const PhaseInputs& whole, int64_t micro,
                       const std::function<PhaseResult(const PhaseInputs&)>& phase);

class Iteration {
 public:
  // `dataset` gives the label distribution that generated labels are drawn from.
  Iteration(const TrainOptions& options, TrainState& state, const Dataset& dataset, Reals& reals);

  void run();

  struct Timing {  // milliseconds on the device
    const char* name;
    double last = 0, total = 0;
    int64_t runs = 0;
    bool pending = false;
    double mean() const { return runs ? total / double(runs) : 0; }
  };
  std::array<Timing, 4> timings();  // Gmain, Greg, Dmain, Dreg; waits for the device

 private:
  // A phase, and what it reads that is set anew before each run.
  struct Phase {
    const char* name;
    int n;  // samples
    LabelFeed labels;
    Tensor mixing;  // [num_ws]
    Replay replay;
    std::unique_ptr<kernels::DeviceTimer> timer;  // of the run under way; read when the next one begins
    Timing timing{name};
    void collect();
  };

  Phase make_phase(const char* name, int n, const std::shared_ptr<Arena>& arena) const;
  PhaseInputs latents(const Phase& phase, Rng& rng) const;
  void draw_inputs(Phase& phase);  // labels and style mixing, for a phase that generates
  // Runs `phase`: `loss` and the step of `adam` that follows are replayed.
  void step(Phase& phase, Adam& adam, double average_decay, const std::function<PhaseResult(Rng&)>& loss);
  void g_main_step(double average_decay);
  void g_reg_step(double average_decay);
  void d_main_step();
  void d_reg_step();

  const TrainOptions& options_;
  TrainState& state_;
  const Dataset& dataset_;
  Reals& reals_;
  std::array<Phase, 4> phases_;
};

}  // namespace firn
