// Which of cuDNN's proposals for an operation are tried, and their plans: restored from the store, or made and stored.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/choice/cudnn_graph.h"
#include "kernels/choice/plan_store.h"

namespace firn::kernels::cudnn {

// A plan that wants more workspace than this is not used.
constexpr size_t kWorkspaceBound = size_t{512} << 20;

struct Operation {
  std::string name;  // with its shape: all that tells it from others
  DType type;
  bool tf32;
  std::shared_ptr<const Graph> graph;
};

// What is remembered of an operation on a GPU is remembered by this. What the name means may change, so the graph is in
// it, too.
std::string key_of(const Operation&, const std::string& gpu);

// Deterministic; without tf32, f32 means f32.
bool acceptable(const Config&, DType, bool tf32);

class Proposals {
 public:
  // Of the store, if it has those of this very GPU; else those that cuDNN makes now.
  Proposals(Operation, Target, std::string key);
  size_t size() const { return all_.size(); }
  const std::string& name(size_t i) const { return all_[i].name; }
  // Its plan; false when there is none that may be used. One that cannot be restored is made anew.
  bool prepare(size_t i);
  bool prepare_all();  // whether any has one; what memory is too short for has none
  const Plan& plan(size_t i) const { return *all_[i].plan; }
  Plan take(size_t i) { return std::move(*all_[i].plan); }
  bool stored() const { return stored_; }
  // Keeps the plans that were made and, if all were tried, which they are: `own` says that the target is the GPU
  // itself, not a description, which may lack what makes others the best. False where they could not be written.
  bool store(bool own) const;

 private:
  struct Proposal {
    std::string name;
    std::optional<Config> config;
    std::optional<Plan> plan;
    std::string made;  // the plan, if it was not stored
    bool tried = false;
  };
  void ask();  // for the configurations of what is stored
  Operation operation_;
  Target target_;
  std::string key_;
  StoredPlans known_;
  bool stored_, asked_ = false;
  std::vector<Proposal> all_;
};

// Reads what is stored and restores the plan of this name, or the first; whoever asks next for Proposals of this key
// finds it done. From any thread.
void restore_ahead(const Operation&, const Target&, const std::string& key, const std::optional<std::string>& name);

void note(Operation);                 // for plan_noted (kernels/conv/planning.h)
std::vector<Operation> take_noted();  // each once, in their order
void use_no_driver();  // from here on cuDNN finds a driver that loads code, where there is none; DeviceError

}  // namespace firn::kernels::cudnn
