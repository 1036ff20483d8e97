#include "engine/tape.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "engine/observer.h"
#include "engine/ops.h"
#include "engine/range.h"

namespace firn {

namespace {

bool recording = true;  // one thread drives the engine

class Recording {
 public:
  explicit Recording(bool on) : saved_(std::exchange(recording, on)) {}
  ~Recording() { recording = saved_; }

 private:
  bool saved_;
};

using NodePtr = std::shared_ptr<Node>;

// The nodes between y and the targets, in the order in which they were made: inputs before outputs.
std::vector<NodePtr> path_to(const NodePtr& y, const std::unordered_set<Node*>& targets,
                             std::unordered_map<Node*, bool>& leads) {
  std::vector<NodePtr> order, stack{y};
  std::unordered_set<Node*> seen{y.get()};
  while (!stack.empty()) {
    order.push_back(std::move(stack.back()));
    stack.pop_back();
    for (const auto& [input, fn] : order.back()->edges)
      if (input && seen.insert(input.get()).second) stack.push_back(input);
  }
  std::sort(order.begin(), order.end(), [](const NodePtr& a, const NodePtr& b) { return a->number < b->number; });
  std::erase_if(order, [&](const NodePtr& node) {
    bool& leads_there = leads[node.get()] = targets.contains(node.get());
    for (const auto& [input, fn] : node->edges) leads_there |= leads[input.get()];
    return !leads_there;
  });
  return order;
}

// At most one of the parts is there already.
void arrive(std::vector<Tensor>& parts, Tensor g) {
  if (!g.deferred() && !parts.empty() && !parts.front().deferred())
    parts.front() = add(parts.front(), g);
  else
    parts.insert(g.deferred() ? parts.end() : parts.begin(), std::move(g));
}

// What reaches a node by an edge whose op need not know of rows.
Tensor in_rows(Tensor g, const Node& node) {
  if (!node.rows) return g;
  if (g.deferred()) g = g.deferred()->make();
  return g.dim(0) == node.rows->count() ? g : gather(g, node.rows->index);
}

}  // namespace

TrainedRows::TrainedRows(std::vector<int32_t> list, int64_t of, const Device& device) : numbers(std::move(list)) {
  for (size_t i = 0; i < numbers.size(); ++i)
    if (numbers[i] < 0 || numbers[i] >= of || (i > 0 && numbers[i] <= numbers[i - 1]))
      throw ShapeError(fmt::format("rows: {} is not a row of {} that comes next", numbers[i], of));
  int64_t multiple = 16;
  while (of % multiple) multiple /= 2;
  std::vector<int32_t> padded = numbers, inverse(static_cast<size_t>(of), -1);
  padded.resize(static_cast<size_t>((count() + multiple - 1) / multiple * multiple), -1);
  for (size_t i = 0; i < numbers.size(); ++i) inverse[static_cast<size_t>(numbers[i])] = static_cast<int32_t>(i);
  index = Tensor::from(numbers, {count()}, device);
  channels = Tensor::from(padded, {static_cast<int64_t>(padded.size())}, device);
  back = Tensor::from(inverse, {of}, device);
}

Tensor require_grad(const Tensor& x, TrainedRowsPtr rows) {
  Tensor leaf = x.require_grad();
  if (rows && rows->back.count() != (x.rank() ? x.dim(0) : 0))
    throw ShapeError(fmt::format("rows of {} do not fit {}", rows->back.count(), to_string(x.shape())));
  leaf.node()->rows = std::move(rows);
  return leaf;
}

TrainedRowsPtr rows_of(const Tensor& x) { return x.wants_grad() ? x.node()->rows : nullptr; }

Tensor zero_gradient(const Tensor& x) {
  Shape shape = x.shape();
  if (const TrainedRowsPtr rows = rows_of(x)) shape[0] = rows->count();
  return Tensor::zeros(shape, x.type(), x.device());
}

Tensor keep_rows(Tensor y, const Tensor& x) {
  if (y.wants_grad()) y.node()->rows = rows_of(x);
  return y;
}

Tensor sum_of_parts(std::vector<Tensor> parts) {
  Tensor sum;
  for (Tensor& part : parts) {
    Tensor g = part.deferred() ? part.deferred()->make() : part;
    part = {};
    sum = sum.defined() ? add(sum, g) : std::move(g);
  }
  return sum;
}

bool is_recording() { return recording; }

NoGrad::NoGrad() : saved_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() { recording = saved_; }

namespace {
Tensor put_on_tape(Tensor y, Node node, Keep keep) {
  node.output = keep == Keep::output ? y.detach() : Tensor::without_storage(y.shape(), y.type(), y.device());
  y.set_node(std::make_shared<Node>(std::move(node)));
  return y;
}
}  // namespace

void Op::throw_other_options() const { throw Error(fmt::format("{}: its options are not of this type", name)); }

Tensor record(const Op& op, Tensor y, std::vector<Edge> edges, Keep keep) {
  if (Observer* const watching = observer()) {
    std::vector<Tensor> inputs;
    for (const Edge& e : edges) inputs.push_back(e.input);
    watching->saw(op, inputs, y);
  }
  if (!recording) return y;
  Node node{op.name, {}, {}};
  for (Edge& e : edges)
    if (e.input.wants_grad()) node.edges.emplace_back(e.input.node(), std::move(e.grad));
  return node.edges.empty() ? y : put_on_tape(std::move(y), std::move(node), keep);
}

Tensor record(const Op& op, Tensor y, const std::vector<Tensor>& inputs, GradsFn together, Keep keep) {
  if (Observer* const watching = observer()) watching->saw(op, inputs, y);
  if (!recording || std::ranges::none_of(inputs, &Tensor::wants_grad)) return y;
  Node node{op.name, {}, {}, std::move(together)};
  for (const Tensor& input : inputs) node.edges.emplace_back(input.node(), GradFn{});
  return put_on_tape(std::move(y), std::move(node), keep);
}

namespace {

// Tells of gradients of leaves: each when the last op that leads to it has been differentiated.
class Ready {
 public:
  Ready(const std::vector<Tensor>& inputs, const std::vector<NodePtr>& order, const GradOptions& options)
      : inputs_(inputs), tell_(options.ready), told_(inputs.size()) {
    if (!tell_) return;
    for (size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].wants_grad()) leaves_[inputs[i].node().get()] = {i, 0};
    for (const NodePtr& node : order)
      for (const auto& [input, fn] : node->edges)
        if (const auto leaf = leaves_.find(input.get()); leaf != leaves_.end()) ++leaf->second.missing;
  }
  void differentiated(const Node& node, std::unordered_map<Node*, std::vector<Tensor>>& gradients) {
    for (const auto& [input, fn] : node.edges) {
      const auto leaf = tell_ ? leaves_.find(input.get()) : leaves_.end();
      if (leaf == leaves_.end() || --leaf->second.missing > 0) continue;
      const auto found = gradients.find(input.get());
      if (found == gradients.end()) continue;
      std::vector<Tensor> parts = std::move(found->second);
      gradients.erase(found);
      told_[leaf->second.input] = true;
      tell_(leaf->second.input, sum_of_parts(std::move(parts)));
    }
  }
  bool told(size_t input) const { return told_[input]; }

 private:
  struct Leaf {
    size_t input;
    int missing;
  };
  const std::vector<Tensor>& inputs_;
  const std::function<void(size_t, Tensor)>& tell_;
  std::vector<bool> told_;
  std::unordered_map<Node*, Leaf> leaves_;
};

}  // namespace

std::vector<Tensor> grad(const Tensor& y, const std::vector<Tensor>& inputs, const GradOptions& options) {
  if (!y.wants_grad()) throw Error("grad: the result does not depend on anything that wants a gradient");
  std::unordered_set<Node*> targets;
  for (const Tensor& t : inputs)
    if (t.wants_grad()) targets.insert(t.node().get());
  std::unordered_map<Node*, bool> leads;
  std::vector<NodePtr> order = path_to(y.node(), targets, leads);
  Ready ready(inputs, order, options);

  const Recording scope(options.create_graph);
  std::unordered_map<Node*, std::vector<Tensor>> gradients;
  gradients[y.node().get()] = {Tensor::full(y.shape(), 1.0, y.type(), y.device())};
  const auto differentiate = [&](const NodePtr& node) {
    const auto found = gradients.find(node.get());
    if (found == gradients.end()) return;
    const Range range("grad.{}", node->op);
    std::vector<Tensor> parts = std::exchange(found->second, {});
    Tensor output = node->output;
    output.set_node(node);
    if (targets.contains(node.get()))
      found->second = parts = {sum_of_parts(std::move(parts))};
    else
      gradients.erase(found);
    if (node->together) {
      Wanted wanted;
      for (const auto& [input, fn] : node->edges) wanted.push_back(leads[input.get()]);
      std::vector<Tensor> found_together = node->together(std::move(parts), output, wanted);
      for (size_t i = 0; i < wanted.size(); ++i)
        if (wanted[i]) {
          Node* const input = node->edges[i].first.get();
          arrive(gradients[input], in_rows(std::move(found_together[i]), *input));
        }
      return;
    }
    const Tensor gy = sum_of_parts(std::move(parts));
    for (const auto& [input, fn] : node->edges)
      if (leads[input.get()]) arrive(gradients[input.get()], in_rows(fn(gy, output), *input));
  };
  while (!order.empty()) {
    const NodePtr node = std::move(order.back());
    order.pop_back();
    differentiate(node);
    ready.differentiated(*node, gradients);
  }

  std::vector<Tensor> result;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (ready.told(i)) continue;
    const auto found = inputs[i].wants_grad() ? gradients.find(inputs[i].node().get()) : gradients.end();
    Tensor g = found != gradients.end() ? found->second.front() : zero_gradient(inputs[i]);
    if (options.ready)
      options.ready(i, std::move(g));
    else
      result.push_back(std::move(g));
  }
  return result;
}

}  // namespace firn
