#include "models/onnx/translation.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace firn::onnx {
namespace {

Shape common(const Shape& two, const Shape& three, const std::string& op) {
  Shape shape = three;
  bool fits = two.size() == three.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) {
    if (two[i] == three[i]) continue;
    fits = two[i] * images_of_translation == three[i] * images_of_shapes;
    shape[i] = three[i] / images_of_translation * batch;
  }
  if (!fits)
    throw ConfigError(fmt::format("this network cannot be exported: {} makes {} of two images and {} of three", op,
                                  to_string(two), to_string(three)));
  return shape;
}

// The image that all of a batch are; undefined where they differ, or do not lie behind one another.
Tensor one_of_equals(const Tensor& images, const Shape& shape) {
  if (shape[0] != batch || of_batch(Shape(shape.begin() + 1, shape.end()))) return {};
  const Tensor one = slice(images, 0, 0, 1);
  for (int64_t i = 1; i < images.dim(0); ++i)
    if (slice(images, 0, i, i + 1).to_doubles() != one.to_doubles()) return {};
  return one;
}

Shape dims_of(const Shape& shape, const std::vector<int>& order) {
  Shape dims;
  for (const int axis : order) dims.push_back(shape[size_t(axis)]);
  return dims;
}

std::vector<int> without_ones(const Shape& shape, const std::vector<int>& order) {
  std::vector<int> some;
  std::ranges::copy_if(order, std::back_inserter(some), [&](int axis) { return shape[size_t(axis)] != 1; });
  return some;
}

// v with axes of 1 in front of the others.
Value widened(Value v, size_t rank) {
  const size_t more = rank - v.shape.size();
  v.shape.insert(v.shape.begin(), more, 1);
  std::vector<int> order = as_it_is(more);
  for (const int axis : v.order) order.push_back(axis + static_cast<int>(more));
  v.order = order;
  if (v.constant.defined() && more > 0) {
    Shape shape = v.constant.shape();
    shape.insert(shape.begin(), more, 1);
    v.constant = reshape(v.constant, shape);
  }
  return v;
}

// Runs of axes of `from` and `to` that have the same elements.
struct Run {
  std::vector<int> from, to;
};
std::vector<Run> runs_of(const Shape& from, const Shape& to) {
  std::vector<Run> runs;
  size_t i = 0, j = 0;
  while (i < from.size() || j < to.size()) {
    Run run;
    int64_t a = 1, b = 1;
    const auto take = [](const Shape& shape, size_t& next, int64_t& product, std::vector<int>& axes) {
      product *= shape[next];
      axes.push_back(static_cast<int>(next++));
    };
    if (i < from.size()) take(from, i, a, run.from);
    if (j < to.size()) take(to, j, b, run.to);
    while (a != b)
      if (a < b)
        take(from, i, a, run.from);
      else
        take(to, j, b, run.to);
    while (i < from.size() && from[i] == 1) take(from, i, a, run.from);
    while (j < to.size() && to[j] == 1) take(to, j, b, run.to);
    runs.push_back(std::move(run));
  }
  return runs;
}

// The order of what a reshape makes of a value that lies in `order`; empty where it would have to be moved first.
std::vector<int> order_behind(const std::vector<Run>& runs, const Shape& from, const std::vector<int>& order) {
  std::vector<int> result, lying = without_ones(from, order);
  std::vector<bool> used(runs.size(), false);
  for (size_t at = 0; at < lying.size();) {
    const auto run = std::ranges::find_if(runs, [&](const Run& r) { return std::ranges::count(r.from, lying[at]); });
    for (const int axis : without_ones(from, run->from))
      if (at == lying.size() || lying[at++] != axis) return {};
    used[size_t(run - runs.begin())] = true;
    result.insert(result.end(), run->to.begin(), run->to.end());
  }
  for (size_t i = 0; i < runs.size(); ++i)
    if (!used[i]) result.insert(result.end(), runs[i].to.begin(), runs[i].to.end());
  return result;
}

}  // namespace

bool of_batch(const Shape& shape) {
  return std::ranges::any_of(shape, [](int64_t size) { return of_batch(size); });
}

std::vector<int> as_it_is(size_t rank) {
  std::vector<int> order(rank);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

int Value::place(int axis) const { return static_cast<int>(std::ranges::find(order, axis) - order.begin()); }

void Shapes::saw(const Op& op, const std::vector<Tensor>& inputs, const Tensor& output) {
  std::vector<Shape> shapes;
  for (const Tensor& t : inputs) shapes.push_back(t.shape());
  all.push_back({op.name, std::move(shapes), output.shape()});
}

void Translation::input(const Tensor& t, const std::string& name, OnnxType type) {
  Shape shape = t.shape(), dims = shape;
  if (!shape.empty()) shape[0] = batch, dims[0] = -1;
  graph_.inputs.push_back({fresh(name), type, dims});
  seen_[key(t)] = {.shape = shape, .name = name, .order = as_it_is(shape.size()), .constant = {}};
}

void Translation::name(const Tensor& constant, const std::string& name) { called_[key(constant)] = name; }

std::string Translation::name_of(const Tensor& constant) const {
  const auto found = called_.find(key(constant));
  return found == called_.end() ? "constant" : found->second;
}

Value Translation::value_of(const Tensor& t, const Shape& shape) const {
  const auto found = seen_.find(key(t));
  if (found != seen_.end()) return found->second;
  if (of_batch(shape))
    throw ConfigError(fmt::format("this network cannot be exported: it has values {} that no op made of its inputs",
                                  to_string(t.shape())));
  return {.shape = t.shape(), .name = {}, .order = as_it_is(t.shape().size()), .constant = t};
}

Value Translation::value_of(const Tensor& t) const { return value_of(t, t.shape()); }

void Translation::saw(const Op& op, const std::vector<Tensor>& inputs, const Tensor& output) {
  const Watch nobody(nullptr);
  if (next_ == shapes_.all.size() || shapes_.all[next_].op != op.name)
    throw ConfigError(fmt::format("this network cannot be exported: {} depends on the number of images", op.name));
  const Shapes::Seen& before = shapes_.all[next_++];
  const Shape shape = common(before.output, output.shape(), op.name);
  std::vector<Value> in;
  for (size_t i = 0; i < inputs.size(); ++i)
    in.push_back(inputs[i].defined() ? value_of(inputs[i], common(before.inputs[i], inputs[i].shape(), op.name))
                                     : Value{});
  if (std::ranges::none_of(in, &Value::live)) {
    if (!of_batch(shape)) return;
    if (const Tensor one = one_of_equals(output, shape); one.defined()) {
      seen_[key(output)] = {.shape = shape, .name = {}, .order = as_it_is(shape.size()), .constant = one};
      return;
    }
  }
  const Translator translator = translator_of(op.name);
  if (!translator) throw ConfigError(fmt::format("this network cannot be exported: ONNX files have no {}", op.name));
  seen_[key(output)] = translator({*this, op, in, output, shape});
}

std::string Translation::fresh(const std::string& wish) {
  const int number = taken_[wish]++;
  return number ? fmt::format("{}_{}", wish, number) : wish;
}

Value Translation::node(const std::string& op, std::vector<std::string> inputs, Shape shape, std::vector<int> order,
                        std::vector<std::pair<std::string, OnnxAttribute>> attributes) {
  graph_.nodes.push_back({op, std::move(inputs), fresh(op), std::move(attributes)});
  return {.shape = std::move(shape), .name = graph_.nodes.back().output, .order = std::move(order), .constant = {}};
}

std::string Translation::stored(StoredTensor tensor, const std::string& name) {
  constexpr size_t small = 4096;
  if (tensor.bytes.size() > small) return graph_.initializers.emplace_back(fresh(name), std::move(tensor)).first;
  const std::string_view bytes(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
  std::string& there = small_[fmt::format("{} {} {} {}", name, tensor.dtype, to_string(tensor.shape), bytes)];
  if (there.empty()) there = graph_.initializers.emplace_back(fresh(name), std::move(tensor)).first;
  return there;
}

std::string Translation::stored(const Tensor& values, const std::string& name) {
  return stored(StoredTensor::of(std::span<const float>(values.to_floats()), values.shape()), name);
}

std::string Translation::integers(const std::vector<int64_t>& values) {
  return stored(StoredTensor::of(std::span(values), {std::ssize(values)}), "sizes");
}

std::string Translation::laid(const Value& v, const std::vector<int>& order) {
  if (!v.live()) {
    const bool moved = order != as_it_is(order.size());
    return moved ? stored(permute(v.constant, order)) : stored(v.constant, name_of(v.constant));
  }
  const Shape dims = dims_of(v.shape, order);
  if (v.order == order) return v.name;
  if (without_ones(v.shape, v.order) != without_ones(v.shape, order)) {
    std::vector<int64_t> places;
    for (const int axis : order) places.push_back(v.place(axis));
    return node("Transpose", {v.name}, v.shape, order, {{"perm", places}}).name;
  }
  return reshaped({.shape = dims_of(v.shape, v.order), .name = v.name, .order = as_it_is(order.size()), .constant = {}},
                  dims)
      .name;
}

Value Translation::reshaped(const Value& v, const Shape& shape) {
  if (!v.live()) {
    Shape own = shape;
    if (v.repeated()) {
      if (v.shape[0] != shape[0]) return reshaped(filled(v), shape);
      own[0] = 1;
    }
    return {.shape = shape, .name = {}, .order = as_it_is(shape.size()), .constant = reshape(v.constant, own)};
  }
  const std::vector<Run> runs = runs_of(v.shape, shape);
  std::vector<int> order = order_behind(runs, v.shape, v.order);
  std::string name = v.name;
  if (order.size() != shape.size()) {
    order = as_it_is(shape.size());
    name = laid(v, as_it_is(v.shape.size()));
  }
  const Shape dims = dims_of(shape, order);
  if (dims == dims_of(v.shape, v.order) && name == v.name)
    return {.shape = shape, .name = name, .order = order, .constant = {}};
  if (const auto before = reshaped_from_.find(name); before != reshaped_from_.end()) name = before->second;
  std::vector<int64_t> sizes(dims.begin(), dims.end());
  for (int64_t& size : sizes)
    if (of_batch(size)) size = -1;
  const Value result = node("Reshape", {name, integers(sizes)}, shape, order);
  reshaped_from_[result.name] = name;
  return result;
}

Value Translation::pointwise(const std::string& op, const std::vector<Value>& operands, const Shape& shape) {
  std::vector<Value> wide;
  const bool batched = std::ranges::any_of(operands, [](const Value& v) { return v.live() && of_batch(v.shape); });
  for (const Value& v : operands) wide.push_back(v.repeated() && !batched ? filled(v) : v);
  std::vector<int> order = shape.size() == 4 ? channels_first : as_it_is(shape.size());
  for (const Value& v : wide)
    if (v.live() && v.shape == shape) {
      order = v.order;
      break;
    }
  std::vector<std::string> names;
  for (const Value& v : wide) {
    names.push_back(v.shape.empty() ? laid(v, {}) : laid(widened(v, shape.size()), order));
  }
  return node(op, names, shape, order);
}

Value Translation::times(const Value& v, double k) {
  if (k == 1) return v;
  if (!v.live()) return {v.shape, {}, v.order, v.constant * k};
  return pointwise("Mul", {v, value_of(Tensor::full({}, k, DType::f32, Device::cpu()))}, v.shape);
}

Value Translation::plus(const Value& v, double k) {
  if (k == 0) return v;
  return pointwise("Add", {v, value_of(Tensor::full({}, k, DType::f32, Device::cpu()))}, v.shape);
}

Value Translation::filled(const Value& v) {
  if (!v.repeated()) return v;
  if (batch_size_.empty())
    batch_size_ = node("Gather", {node("Shape", {graph_.inputs[0].name}, {1}, {0}).name, integers({0})}, {1}, {0}).name;
  const std::vector<int> order = v.rank() == 4 ? channels_first : as_it_is(v.shape.size());
  std::string sizes = batch_size_;
  if (v.rank() > 1)
    sizes = node("Concat", {batch_size_, integers(std::vector<int64_t>(v.shape.size() - 1, 1))}, {v.rank()}, {0},
                 {{"axis", int64_t{0}}})
                .name;
  return node("Expand", {laid(v, order), sizes}, v.shape, order);
}

OnnxGraph Translation::finish(const std::string& name, const std::string& output, const Value& value, OnnxType type) {
  graph_.name = name;
  const std::vector<int> order = value.rank() == 4 ? channels_first : as_it_is(value.shape.size());
  const std::string last = node("Identity", {laid(filled(value), order)}, value.shape, order).name;
  graph_.nodes.back().output = output;
  Shape dims = dims_of(value.shape, order);
  dims[0] = -1;
  graph_.outputs = {{output, type, dims}};

  std::set<std::string> needed{output};
  for (size_t i = graph_.nodes.size(); i-- > 0;)
    if (const OnnxNode& node = graph_.nodes[i]; needed.contains(node.output))
      needed.insert(node.inputs.begin(), node.inputs.end());
  std::erase_if(graph_.nodes, [&](const OnnxNode& node) { return !needed.contains(node.output); });
  std::erase_if(graph_.initializers, [&](const auto& named) { return !needed.contains(named.first); });
  return std::move(graph_);
}

}  // namespace firn::onnx
