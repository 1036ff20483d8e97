// Several processes that train one network. Process 0 leads: the run folder, the console and every decision are its
// own. The others follow: they are given its state when training begins, and then run each iteration with it, whose
// sums keep all states the same.
#pragma once
#include "engine/communicator.h"
#include "training/run/evaluations.h"
#include "training/step/iteration.h"

namespace firn {

// Of process 0. One process makes a team, too.
class Team {
 public:
  explicit Team(Communicator& processes) : processes_(processes) {}
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  Communicator& processes() const { return processes_; }
  int measuring() const { return begun_ ? processes_.size() : 1; }  // processes that features() has

  // The others begin to make themselves what they train from this state with, in place of what they trained before;
  // ready() waits for all of them. `together`: until then this process has to make itself Reals in shards, as they do.
  void begin(const TrainOptions& options, const TrainState& state, bool together);
  void ready();
  void end();  // they have no state any more that counts, until begin()
  void iterate(Iteration& iteration);
  // What a network finds in the first `count` images that this state makes: the same bits for any number of processes.
  // progress("generated images", done, count) may throw.
  FeatureTable features(const FeatureExtractor& find, int64_t count, const TrainOptions& options,
                        const TrainState& state, const MeasuringProgress& progress);
  // Of all processes, in their order, what each has skipped of the data since training began.
  std::vector<BadImage> skipped(const Dataset& data);
  // Error that names a process whose state is another one, and a tensor in which.
  void verify(const TrainOptions& options, TrainState& state);

  // Ends the others, which return `code` from follow(); by force where they are in the middle of something. Behind it
  // nothing is called.
  void leave(int code);

 private:
  void apart();  // ready(), but for what leaves the others in the middle of something: that ends all
  void command(char what, const std::string& with = {});
  Communicator& processes_;
  bool begun_ = false, beginning_ = false,
       together_ = false;  // the others are in the middle of something with this process
};

// Asked for when training begins: process 0 says first what is wrong with what all are given.
struct Follower {
  std::function<Device()> device = [] { return Device::cpu(); };
  std::function<DataMemory()> memory = [] { return DataMemory::automatic; };
  int workers = 2;
};
// Of all other processes: follows until process 0 leaves. Errors name this process.
int follow(Communicator& processes, const Follower& follower);

// ConfigError on process 0 that names the first process for which `mine` is another text; false on all others then.
bool agree(Communicator& processes, const std::string& mine, const std::string& what);

}  // namespace firn
