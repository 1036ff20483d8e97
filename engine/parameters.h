// Named tensors of a network, and masks over them. Freezing is a mask and nothing else: over tensors, or over rows of
// one, which are a layer's filters.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "engine/tape.h"

namespace firn {

// An addition is a weight that a method gives a network: it begins where it changes nothing, and files of others lack
// it. They lack an own_buffer, too.
enum class ParameterKind { weight, buffer, addition, own_buffer };

// A handle: copies refer to the same parameter. Buffers (w_avg, noise_const) are parameters that never train.
class Parameter {
 public:
  Parameter() = default;
  Parameter(std::string name, Tensor value, ParameterKind kind = ParameterKind::weight);

  const std::string& name() const { return state_->name; }
  bool frozen() const { return state_->frozen || state_->buffer; }
  bool buffer() const { return state_->buffer; }
  bool addition() const { return state_->addition; }
  // A buffer that forward passes in training move: of a batch in several parts, by the mean of how each part would.
  Parameter& mark_running();
  bool running() const { return state_->running; }
  void set_frozen(bool frozen);
  // Unless frozen, only these rows train, ascending; none of them: it is frozen. ShapeError where there is no such row.
  void train_rows(std::vector<int32_t> rows);
  const TrainedRowsPtr& rows() const { return state_->rows; }  // null: all
  int64_t trains() const;                                      // how many numbers

  // From now on ops see value (1 + out x in), the value being [O,...], out [O] and in [1,...] (kernel modulation of
  // rank one: Zhao et al. 2022, arXiv 2210.16559).
  void modulate(Parameter out, Parameter in);
  bool modulated() const;  // by factors that train: what ops see may change although it is frozen

  Tensor operator()() const;  // for use in an op
  // As it is stored: a leaf that wants a gradient, of the rows that train, unless frozen.
  Tensor& value() { return state_->value; }
  const Tensor& value() const { return state_->value; }
  int64_t count() const { return state_->value.count(); }

 private:
  struct State {
    std::string name;
    Tensor value;
    bool buffer = false, addition = false, frozen = false, running = false;
    TrainedRowsPtr rows{};
    std::vector<Parameter> factors{};  // out and in, or none
  };
  std::shared_ptr<State> state_;
};

class Parameters {
 public:
  void add(Parameter p) { list_.push_back(std::move(p)); }
  auto begin() const { return list_.begin(); }
  auto end() const { return list_.end(); }
  size_t size() const { return list_.size(); }
  bool empty() const { return list_.empty(); }
  const Parameter& operator[](size_t i) const { return list_[i]; }

  // Those whose name matches one of the patterns (* and ? as in file names). ConfigError for a pattern that matches
  // none.
  Parameters matching(const std::vector<std::string>& patterns) const;
  template <class... P>
  Parameters operator()(const P&... patterns) const {
    return matching({patterns...});
  }
  Parameters trainable() const;
  Parameters without_buffers() const;
  Parameters running() const;
  const Parameter* find(const std::string& name) const;

  void freeze() const;
  void unfreeze() const;                // rows stay as they are
  std::vector<Tensor> tensors() const;  // what grad() takes
  int64_t count() const;                // numbers in all
  int64_t trains() const;               // that train

 private:
  std::vector<Parameter> list_;
};

bool matches(const std::string& name, const std::string& pattern);

// The layer that weights of this name are of: what stands before .weight, or before .weight_orig as PyTorch calls those
// that count by a factor. Empty: they are none.
std::string layer_of_weights(const std::string& name);

// Freezes what is trainable, and restores exactly that: a network that a phase only passes through.
class FrozenScope {
 public:
  explicit FrozenScope(const Parameters& parameters);
  ~FrozenScope();
  FrozenScope(const FrozenScope&) = delete;
  FrozenScope& operator=(const FrozenScope&) = delete;

 private:
  Parameters thawed_;
};

}  // namespace firn
