// One training iteration: its phases in order, each with its own optimiser step, then the averages. On a GPU each phase
// is recorded once and replayed: what differs from one run to the next is put into device memory before, and nothing is
// read back.
#pragma once
#include <deque>

#include "engine/replay.h"
#include "kernels/device/timer.h"
#include "training/augment/augment.h"
#include "training/objectives/objective.h"
#include "training/step/reals.h"

namespace firn {

class Iteration {
 public:
  // The phases of options.model's objective. `dataset` gives the label distribution that generated labels are drawn
  // from; null: all classes are equally likely. Several processes run it alike: each has the whole state, which stays
  // the same in all, and works on its own part of each batch.
  Iteration(const TrainOptions& options, TrainState& state, const Dataset* dataset, Reals& reals,
            Communicator& processes = alone());

  void run();  // every phase that is due, the averages, the counters
  const std::vector<Phase>& phases() const { return phases_; }
  void run_phase(size_t i, double average_decay);  // one, with its optimiser step; 1: the average stays

  struct Timing {  // milliseconds on the device
    std::string name;
    double last = 0, total = 0;
    int64_t runs = 0;
    bool pending = false, over = false;  // over: it does not run any more
    double mean() const { return runs ? total / double(runs) : 0; }
  };
  std::vector<Timing> timings();  // by phase; waits for the device
  int64_t images() const;         // of the data, that an iteration shows to D

 private:
  // What the runs of a phase share.
  struct Runs {
    Runs(const Device& device, const std::shared_ptr<Arena>& arena, const std::string& name, Communicator& processes);
    Replay replay;
    std::unique_ptr<kernels::DeviceTimer> timer;  // of the run under way; read when the next one begins
    Timing timing;
    int64_t sent = 0;  // bytes to other processes, by one run
    void collect();
  };

  const TrainOptions& options_;
  TrainState& state_;
  Reals& reals_;
  Communicator& processes_;
  Augment augment_;
  std::vector<Phase> phases_;
  std::deque<Runs> runs_;
};

}  // namespace firn
