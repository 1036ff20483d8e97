// A phase is data: which role it trains, how often, on what, and a function from a slice of the batch to a loss.
// Whoever runs one (iteration.h, gan-check) freezes every other role, sums micro-batches and differentiates: here, once
// for all.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/tree_sum.h"
#include "training/state/state.h"

namespace firn {

// Named tensors of one batch, samples along the first axis. What is not there is undefined.
class Inputs {
 public:
  void put(const std::string& name, Tensor t);  // in place of what has that name; an undefined one is left out
  Tensor operator[](const std::string& name) const;
  bool has(const std::string& name) const { return (*this)[name].defined(); }
  int64_t size() const;  // samples; ShapeError unless all have as many
  Inputs slice(int64_t begin, int64_t end) const;

 private:
  std::vector<std::pair<std::string, Tensor>> tensors_;
};

// A scalar on the device that a phase reports: its name in gan-check, and in the statistics ("" for none).
struct Term {
  std::string name, stat;
  Tensor value;
};

// Images of the data as D saw them: in which of its calls, from which sample on. Undefined where it saw none.
struct Shown {
  Tensor images, labels;
  size_t call = 0;
  int64_t begin = 0;
};

// Images of G as it made them; where D saw them: in which of its calls, from which sample on; and those of another
// generator from the same latents, where a phase says it.
struct Made {
  Tensor images{};
  size_t call = 0;
  int64_t begin = 0;
  std::function<Tensor(const Generator&)> by = {};
};

struct Terms {
  Tensor total;              // what is differentiated
  std::string stat;          // its name in the statistics
  std::vector<Term> report;  // sample means
  Shown reals = {};
  Made fakes = {};
};

// Puts fresh values into lasting tensors before each run of a phase, from the host.
class Feed {
 public:
  virtual ~Feed() = default;
  virtual void refresh(Rng& rng) = 0;
  virtual int64_t reals() const { return 0; }  // images of the data that each refresh shows
};

struct Phase {
  // What terms() reads of a batch, for who brings his own: `shape` of one sample, images as [H,W,C].
  struct Input {
    std::string name;
    Shape shape;
    enum class Kind { normal, images, label } kind = Kind::normal;
    std::string file = {};  // its name in files; empty: the same
  };

  std::string name, trains;              // "Dreg", role "D"
  std::vector<std::string> beside = {};  // roles that it trains with it
  int64_t from = 0, until = INT64_MAX;   // iterations in which it runs
  int interval = 1, repeats = 1;         // runs `repeats` times in every interval-th iteration,
  bool between = false;                  // or in all others
  bool lazy = false;                     // a regulariser, whose weight makes up for the interval
  int64_t samples = 0, at_once = 0;      // of the batch; of a micro-batch
  std::vector<std::shared_ptr<Feed>> feeds = {};
  std::vector<Input> inputs = {};
  // The whole batch: draws, and tensors that feeds fill. What it draws does not depend on micro-batches.
  std::function<Inputs(Rng&)> draw;
  // `rng` draws noise; null: constant noise. Nothing here reads the device, so that a run can be recorded and replayed.
  std::function<Terms(const Inputs&, Rng* rng)> terms;

  bool due(int64_t iteration) const;
  double share() const;  // of the iterations from `from` until `until`
};

struct PhaseResult {
  std::vector<Term> report;                        // sample means over the whole batch; "loss" first
  std::vector<Tensor> gradients;                   // by position of the trainable parameters of the role, of rows that
                                                   // train, then of those beside it
  Tensor operator[](std::string_view name) const;  // of the report; undefined where the phase has none
};

// Runs `phase` on micro-batches, slices of at most phase.at_once samples, and sums their gradients in a binary tree
// (engine/tree_sum.h). Equal to one run on the whole where the networks treat samples independently (minibatch-std does
// not). Each micro-batch begins from the same running values (Parameter::running(), the state's scalars), which move
// by the mean of their moves, and draws noise of its own: nothing depends on which came first, or on which of
// `processes` runs it. Each of those brings the whole batch, of which it reads its own rows (rows_of). Gradients travel
// between them by `wire`. Other roles are frozen meanwhile.
PhaseResult run_phase(const Phase& phase, const TrainState& state, const Inputs& whole, Rng* rng,
                      Communicator& processes = alone(), Wire wire = Wire::as_is);

// What lasts beyond a run of a phase and that its forward passes move: the tensors themselves.
std::vector<Tensor> running_values(const TrainState& state);

// ConfigError where a phase has fewer micro-batches than there are processes.
void require_parts(const std::vector<Phase>& phases, int processes);
// Of n samples in micro-batches, those that this process runs.
Leaves rows_of(int64_t n, int64_t at_once, int rank, int ranks);

}  // namespace firn
