// Adam over a list of parameters, and the moving average of weights. Rows that do not train have no moments.
#pragma once
#include <vector>

#include "engine/parameters.h"

namespace firn {

struct AdamOptions {
  double lr = 2e-3, beta1 = 0, beta2 = 0.99, eps = 1e-8;
  std::vector<std::pair<std::string, double>> lr_shares = {};  // of parameters by pattern, of the first that names them
};

class Adam {
 public:
  // Keeps moments for all of them, frozen or not; of one with rows, for those that train now.
  Adam(Parameters parameters, AdamOptions options);
  // One update. gradients[i] belongs to targets()[i], in the shape that grad() gives it; non-finite values are repaired
  // and counted (kernels/adam.h).
  void step(const std::vector<Tensor>& gradients) {
    advance();
    apply(gradients);
  }
  // Its halves, for a step that is recorded once and replayed: advance() counts the step and puts what depends on the
  // count into device memory, and apply(), which reads it there, is what to record.
  // `average_decay` is for the averages that follow; 1 leaves them alone.
  void advance(double average_decay = 1);
  // From now on averages[i] <- lerp(targets()[i], averages[i], average_decay) in the same launch.
  void keep_averages(Parameters averages);
  void apply(const std::vector<Tensor>& gradients);
  std::vector<Tensor> parameters() const { return parameters_.tensors(); }
  const Parameters& targets() const { return parameters_; }
  double lr() const { return options_.lr; }
  void set_lr(double lr) { options_.lr = lr; }  // from the next advance() on, recorded launches included
  int64_t step_count() const { return step_; }
  void set_step_count(int64_t step) { step_ = step; }
  int64_t repaired() const;                         // non-finite gradient values, so far; waits for the device
  Tensor& first_moment(size_t i) { return m_[i]; }  // undefined where beta1 is 0, which needs none
  Tensor& second_moment(size_t i) { return v_[i]; }

 private:
  // Neighbouring rows, or a whole tensor: `count` numbers of parameter `of` from `at` on, whose moments begin at
  // `from`.
  struct Span {
    size_t of;
    int64_t at, from, count;
  };
  double lr_share(const Parameter& p) const;
  Parameters parameters_, averages_;
  std::vector<Span> spans_;
  AdamOptions options_;
  std::vector<Tensor> m_, v_;  // like parameters_
  Tensor rates_, repaired_;    // kernels::AdamRates; i64, a count a block
  int64_t step_ = 0;
};

// averages[i] <- lerp(current[i], averages[i], beta), matched by position; buffers are copied. One launch. Part::frozen
// leaves out the rows of `current` that train where others do not.
enum class Part { all, frozen };
void update_average(const Parameters& averages, const Parameters& current, double beta, Part part = Part::all);

}  // namespace firn
