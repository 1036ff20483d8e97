#include "engine/tape.h"

#include <unordered_map>
#include <unordered_set>

#include "engine/ops.h"
#include "engine/range.h"
#include "kernels/error.h"

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

// The nodes between y and the targets, inputs before outputs.
std::vector<NodePtr> path_to(const NodePtr& y, const std::unordered_set<Node*>& targets,
                             std::unordered_map<Node*, bool>& leads) {
  std::vector<NodePtr> order;
  struct Visit {
    NodePtr node;
    size_t next_edge = 0;
  };
  std::vector<Visit> stack{{y}};
  leads[y.get()] = targets.contains(y.get());
  while (!stack.empty()) {
    Visit& v = stack.back();
    if (v.next_edge < v.node->edges.size()) {
      const NodePtr input = v.node->edges[v.next_edge++].first;
      if (!leads.contains(input.get())) {
        leads[input.get()] = targets.contains(input.get());
        stack.push_back({input});
      }
    } else {
      for (const auto& [input, fn] : v.node->edges) leads[v.node.get()] |= leads[input.get()];
      if (leads[v.node.get()]) order.push_back(v.node);
      stack.pop_back();
    }
  }
  return order;
}

}  // namespace

bool is_recording() { return recording; }

NoGrad::NoGrad() : saved_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() { recording = saved_; }

Tensor record(const char* op, Tensor y, std::vector<Edge> edges, Keep keep) {
  if (!recording) return y;
  std::vector<std::pair<NodePtr, GradFn>> kept;
  for (Edge& e : edges)
    if (e.input.wants_grad()) kept.emplace_back(e.input.node(), std::move(e.grad));
  if (kept.empty()) return y;
  Tensor output = keep == Keep::output ? y.detach() : Tensor::without_storage(y.shape(), y.type(), y.device());
  y.set_node(std::make_shared<Node>(Node{op, std::move(kept), std::move(output)}));
  return y;
}

std::vector<Tensor> grad(const Tensor& y, const std::vector<Tensor>& inputs, GradOptions options) {
  if (!y.wants_grad()) throw Error("grad: the result does not depend on anything that wants a gradient");
  std::unordered_set<Node*> targets;
  for (const Tensor& t : inputs)
    if (t.wants_grad()) targets.insert(t.node().get());
  std::unordered_map<Node*, bool> leads;
  std::vector<NodePtr> order = path_to(y.node(), targets, leads);

  const Recording scope(options.create_graph);
  std::unordered_map<Node*, Tensor> gradients;
  gradients[y.node().get()] = Tensor::full(y.shape(), 1.0, y.type(), y.device());
  while (!order.empty()) {
    const NodePtr node = std::move(order.back());
    order.pop_back();
    const auto found = gradients.find(node.get());
    if (found == gradients.end()) continue;
    const Tensor gy = found->second;
    if (!targets.contains(node.get())) gradients.erase(found);
    const Range range("grad.{}", node->op);
    Tensor output = node->output;
    output.set_node(node);
    for (const auto& [input, fn] : node->edges) {
      if (!leads[input.get()]) continue;
      Tensor gx = fn(gy, output);
      Tensor& sum = gradients[input.get()];
      sum = sum.defined() ? add(sum, gx) : std::move(gx);
    }
  }

  std::vector<Tensor> result;
  for (const Tensor& t : inputs) {
    const auto found = t.wants_grad() ? gradients.find(t.node().get()) : gradients.end();
    result.push_back(found != gradients.end() ? found->second : Tensor::zeros(t.shape(), t.type(), t.device()));
  }
  return result;
}

}  // namespace firn
