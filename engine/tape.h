// The tape: a gradient is a function from tensors to tensors made of ops, so a second derivative is just another one.
#pragma once
#include <functional>
#include <typeinfo>
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

// Of a leaf of which only some rows (of the first axis) train: its gradient, and what adds up to it, has these rows
// alone. An op that knows them computes no others; what has all rows when it arrives is cut down to them.
struct TrainedRows {
  TrainedRows(std::vector<int32_t> numbers, int64_t of, const Device& device);  // ascending, below `of`; ShapeError
  std::vector<int32_t> numbers;
  Tensor index;           // the same, i32
  Tensor channels, back;  // as channels of a layer's output, for pick_channels: behind them as many of zeros as
                          // libraries like multiples of; and the inverse
  int64_t count() const { return static_cast<int64_t>(numbers.size()); }
};
using TrainedRowsPtr = std::shared_ptr<const TrainedRows>;

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
  TrainedRowsPtr rows{};     // that its gradient has; null: all
  inline static uint64_t made = 0;
};

// What an op is called, and the options that it was called with, for those who watch (engine/observer.h). Only while
// record() runs.
struct Op {
  Op(const char* op) : name(op) {}  // implicit: most ops have no options
  template <class P>
  Op(const char* op, const P& p) : name(op), type(&typeid(P)), options(&p) {}
  template <class P>
  const P& as() const {
    if (!type || *type != typeid(P)) throw_other_options();
    return *static_cast<const P*>(options);
  }
  const char* name;

 private:
  [[noreturn]] void throw_other_options() const;
  const std::type_info* type = nullptr;
  const void* options = nullptr;
};

// Puts y on the tape with an edge to each input that wants a gradient. The closure of any other input is dropped here:
// this is the requires_grad mask. Its kernel cannot be reached and what only it had captured is freed at once.
// Closures of an op recorded with Keep::nothing get a y without storage: y's memory is not held for backward.
enum class Keep { nothing, output };
Tensor record(const Op& op, Tensor y, std::vector<Edge> edges, Keep keep = Keep::nothing);
Tensor record(const Op& op, Tensor y, const std::vector<Tensor>& inputs, GradsFn together, Keep keep = Keep::nothing);
Tensor sum_of_parts(std::vector<Tensor> parts);  // computes what is deferred

Tensor require_grad(const Tensor& x, TrainedRowsPtr rows);  // a new leaf of which these train; null: all
TrainedRowsPtr rows_of(const Tensor& x);                    // null: all, or it wants no gradient
Tensor zero_gradient(const Tensor& x);                      // in the shape of its gradient
// y, where an op keeps the rows of x apart from each other: then y's gradient has those of x's.
Tensor keep_rows(Tensor y, const Tensor& x);

struct GradOptions {
  bool create_graph = false;  // record the gradients themselves, to differentiate them again
  // Is given each gradient, by the position of its input, once nothing more is added to it, while others are computed;
  // grad() then returns none. All inputs are leaves, each given once.
  std::function<void(size_t input, Tensor gradient)> ready{};
};

// d sum(y) / d input, for each input, of the rows that train; zeros where y does not depend on it. Visits only what
// leads to the inputs: an op whose result leads to none is not differentiated. Throws Error if y wants no gradient.
std::vector<Tensor> grad(const Tensor& y, const std::vector<Tensor>& inputs, const GradOptions& options = {});

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
