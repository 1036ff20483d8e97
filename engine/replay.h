// A part of a training step that is recorded once and then replayed: on a GPU a CUDA graph in memory that is planned,
// elsewhere just a call. Trade-off: its body reads nothing on the host and leaves no tensor behind.
#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "engine/communicator.h"
#include "engine/random.h"
#include "kernels/device/arena.h"
#include "kernels/device/graph.h"

namespace firn {

// Memory that replays of one device share, since they run one after the other.
struct Arena {
  std::shared_ptr<kernels::ArenaBlock> block;
};

class Replay {
 public:
  // Several processes run it alike: graphs that exchange data must be recorded and launched by all or none of them.
  Replay(const Device& device, std::shared_ptr<Arena> arena, Communicator& processes = alone());

  // Runs `body`. Its first run chooses providers, the second notes its allocations, the third is recorded; from then on
  // `body` is no longer called. All random numbers come from the Rng that it is given, which continues `rng`.
  // What else changes from run to run, body reads from device memory, and what it makes, it writes into tensors that
  // were there before. DeviceError when it does not. Weights that convolutions read may also change between runs.
  // Where CUDA makes no graph of it, a line on stderr says so, and body is called each time.
  void run(Rng& rng, const std::function<void(Rng&)>& body);

  bool recorded() const { return graph_ != nullptr; }
  bool settled() const { return graph_ || refused_; }  // its next run is like those after it

 private:
  void try_record(Rng rng, const std::function<void(Rng&)>& body);
  void record(Rng& rng, const std::function<void(Rng&)>& body);

  Device device_;
  std::shared_ptr<Arena> arena_;
  Communicator& processes_;
  Storage origin_;  // the number of the first draw
  int runs_ = 0;
  bool refused_ = false;  // by CUDA, to one of the processes
  kernels::ArenaPlan plan_;
  std::weak_ptr<kernels::ArenaBlock> block_;  // where graph_ works, if it is still there
  std::unique_ptr<kernels::Graph> graph_;
  std::vector<std::weak_ptr<kernels::WeightCache>> weights_;  // whose rounded copies graph_ may read
  uint64_t draws_ = 0;                                        // of one run
};

}  // namespace firn
