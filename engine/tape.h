// The tape: a gradient is a function from tensors to tensors made of ops, so a second derivative is just another one.
#pragma once
#include <functional>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace firn {

// From the gradient of the output, and the output, to the gradient of one input. It must not capture the output.
using GradFn = std::function<Tensor(const Tensor& gy, const Tensor& y)>;

// A part of a gradient that is not computed yet: the op that takes it may do so in a pass of its own.
struct Deferred {
  virtual ~Deferred() = default;
  virtual Tensor make() = 0;
};

// As GradFn, from parts whose sum is the gradient of the output; some may be deferred.
using GradOfParts = std::function<Tensor(std::vector<Tensor> parts, const Tensor& y)>;

struct Edge {
  Tensor input;
  GradFn grad;
};

struct Node {
  const char* op;
  std::vector<std::pair<std::shared_ptr<Node>, GradFn>> edges;
  Tensor output;             // without its node: a node never owns itself
  GradOfParts of_parts;      // of its only edge, or none
  uint64_t number = made++;  // later nodes have larger ones
  inline static uint64_t made = 0;
};

// Puts y on the tape with an edge to each input that wants a gradient. The closure of any other input is dropped here:
// this is the requires_grad mask. Its kernel cannot be reached and what only it had captured is freed at once.
// Closures of an op recorded with Keep::nothing get a y without storage: y's memory is not held for backward.
enum class Keep { nothing, output };
Tensor record(const char* op, Tensor y, std::vector<Edge> edges, Keep keep = Keep::nothing, GradOfParts of_parts = {});
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
