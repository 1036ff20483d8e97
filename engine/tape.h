// The tape: a gradient is a function from tensors to tensors made of ops, so a second derivative is just another one.
#pragma once
#include <functional>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace firn {

// From the gradient of the output, and the output, to the gradient of one input. It must not capture the output.
using GradFn = std::function<Tensor(const Tensor& gy, const Tensor& y)>;

// From parts whose sum is the gradient of the output, some of them perhaps deferred (engine/ops/deferred.h), to the
// gradients of all inputs: for ops that find them in one pass, or from one tensor. Those that are not wanted may be
// undefined. It may keep what only an input that wants no gradient needs, so whoever writes one drops that.
using Wanted = std::vector<bool>;
using GradsFn = std::function<std::vector<Tensor>(std::vector<Tensor> parts, const Tensor& y, const Wanted& wanted)>;

// A part of a gradient that is not computed yet.
struct Deferred {
  virtual ~Deferred() = default;
  virtual Tensor make() = 0;
};

struct Edge {
  Tensor input;
  GradFn grad;
};

struct Node {
  const char* op;
  std::vector<std::pair<std::shared_ptr<Node>, GradFn>> edges;
  Tensor output;             // without its node: a node never owns itself
  GradsFn together{};        // in place of those of the edges, which are then of all inputs: null, if not wanted
  uint64_t number = made++;  // later nodes have larger ones
  inline static uint64_t made = 0;
};

// Puts y on the tape with an edge to each input that wants a gradient. The closure of any other input is dropped here:
// this is the requires_grad mask. Its kernel cannot be reached and what only it had captured is freed at once.
// Closures of an op recorded with Keep::nothing get a y without storage: y's memory is not held for backward.
enum class Keep { nothing, output };
Tensor record(const char* op, Tensor y, std::vector<Edge> edges, Keep keep = Keep::nothing);
Tensor record(const char* op, Tensor y, const std::vector<Tensor>& inputs, GradsFn together, Keep keep = Keep::nothing);
Tensor sum_of_parts(std::vector<Tensor> parts);  // computes what is deferred

struct GradOptions {
  bool create_graph = false;  // record the gradients themselves, to differentiate them again
};

// d sum(y) / d input, for each input; zeros where y does not depend on it. Visits only what leads to the inputs: an op
// whose result leads to none is not differentiated. Throws Error if y wants no gradient.
std::vector<Tensor> grad(const Tensor& y, const std::vector<Tensor>& inputs, GradOptions options = {});

// False during inference, and in a backward pass whose result will not be differentiated: a gradient may then be
// computed in any way, otherwise it must be made of ops.
bool is_recording();

// While one lives, nothing is recorded: plain inference.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool saved_;
};

}  // namespace firn
