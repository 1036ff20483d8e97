// How each op of the engine is written: of options that no network here has, only that there is no way.
#include <algorithm>
#include <map>

#include "base/error.h"
#include "models/onnx/translation.h"

namespace firn::onnx {
namespace {

using Attributes = std::vector<std::pair<std::string, OnnxAttribute>>;
using Ints = std::vector<int64_t>;

void require(const Call& c, bool ok, const char* what) {
  if (!ok) throw ConfigError(fmt::format("this network cannot be exported: {} with {}", c.op.name, what));
}

const Tensor& constant(const Call& c, const Value& v, const char* what) {
  require(c, !v.live() && !v.repeated(), what);
  return v.constant;
}

Value unary(const Call& c, const char* op) {
  const Value x = c.to.filled(c.in[0]);
  return c.to.node(op, {x.name}, c.shape, x.order);
}

// [N,C] or [C], with axes of 1 before the channels.
Value by_channel(const Call& c, const Value& v) {
  Shape shape(c.shape.size(), 1);
  shape.back() = v.shape.back();
  if (v.rank() == 2) shape[0] = v.shape[0];
  return c.to.reshaped(v, shape);
}

// --- pointwise

Value binary(const Call& c, const char* op) { return c.to.pointwise(op, c.in, c.shape); }
Value square(const Call& c) { return c.to.pointwise("Mul", {c.in[0], c.in[0]}, c.shape); }
Value rsqrt(const Call& c) {
  const Value root = unary(c, "Sqrt");
  return c.to.node("Reciprocal", {root.name}, c.shape, root.order);
}
Value affine(const Call& c) {
  const auto& p = c.op.as<Affine>();
  return c.to.plus(c.to.times(c.in[0], p.scale), p.shift);
}
Value same(const Call& c) { return c.in[0]; }  // all of a file's numbers are f32

Value scale_channels(const Call& c) { return c.to.pointwise("Mul", {c.in[0], by_channel(c, c.in[1])}, c.shape); }

// The gain goes to what is added, and to d, before the activation, which is linear in it.
Value bias_act(const Call& c) {
  const auto& p = c.op.as<BiasAct>();
  Translation& to = c.to;
  const auto add = [&](const Value& y, const Value& what) { return to.pointwise("Add", {y, what}, c.shape); };
  Value y = to.filled(c.in[0]);
  const double gain = p.d.defined() ? p.gain : 1;
  if (p.d.defined()) y = to.pointwise("Mul", {y, by_channel(c, to.times(c.in[1], gain))}, c.shape);
  if (p.noise.defined()) {
    const Tensor& map = constant(c, c.in[4], "noise that is not the same for all images");
    const Tensor strength = constant(c, c.in[3], "a strength of noise that depends on its inputs");
    const Tensor noise = reshape(map, {1, map.dim(1), map.dim(2), 1}) * strength * gain;
    y = add(y, to.value_of(noise));
  }
  if (c.in[2].shape.size()) y = add(y, by_channel(c, to.times(c.in[2], gain)));
  if (p.slope == 0)
    y = to.node("Relu", {y.name}, c.shape, y.order);
  else if (p.slope != 1)
    y = to.node("LeakyRelu", {y.name}, c.shape, y.order, {{"alpha", static_cast<float>(p.slope)}});
  y = to.times(y, p.gain / gain);
  if (p.clamp < 0) return y;
  const auto bound = [&](double k) { return to.stored(Tensor::full({}, k, DType::f32, Device::cpu())); };
  return to.node("Clip", {y.name, bound(-p.clamp), bound(p.clamp)}, c.shape, y.order);
}

// --- sums

Value sum(const Call& c) {
  const Value x = c.to.filled(c.in[0]);
  const size_t more = x.shape.size() - c.shape.size();
  Shape kept = x.shape;
  Ints axes;
  for (size_t i = 0; i < kept.size(); ++i) {
    const int64_t size = i < more ? 1 : c.shape[i - more];
    if (size == kept[i]) continue;
    kept[i] = 1;
    axes.push_back(x.place(static_cast<int>(i)));
  }
  std::ranges::sort(axes);
  return c.to.reshaped(c.to.node("ReduceSum", {x.name, c.to.integers(axes)}, kept, x.order), c.shape);
}

Value expand(const Call& c) {
  const Value& x = c.in[0];
  require(c, x.live(), "a batch that is not its first axis");
  Shape wide = x.shape;
  wide.insert(wide.begin(), c.shape.size() - wide.size(), 1);
  const Value v = c.to.reshaped(x, wide);
  Ints sizes;
  for (const int axis : v.order) {
    const int64_t size = c.shape[size_t(axis)];
    require(c, !of_batch(size) || size == wide[size_t(axis)], "a value that is repeated for each image");
    sizes.push_back(of_batch(size) ? 1 : size);
  }
  return c.to.node("Expand", {v.name, c.to.integers(sizes)}, c.shape, v.order);
}

// --- products

// y = alpha op(a) op(b), or its transposed where that spares moves.
Value matmul(const Call& c) {
  const auto& p = c.op.as<Matmul>();
  Translation& to = c.to;
  Value a = to.filled(c.in[0]), b = to.filled(c.in[1]);
  if (const auto row = to.picked.find(a.name); row != to.picked.end() && !b.live() && !p.trans_a) {
    const Tensor table = firn::matmul(row->second.table, b.constant, p);
    return to.node("Gather", {to.stored(table), row->second.index}, c.shape, {0, 1});
  }
  const auto turned = [](const Value& v) { return v.order.size() > 1 && v.order.back() != v.rank() - 1; };
  const bool ta = p.trans_a != turned(a), tb = p.trans_b != turned(b);
  if (a.rank() == 2 && b.rank() == 2) {
    const auto name = [&](const Value& v) { return v.live() ? v.name : to.laid(v, v.order); };
    return to.node("Gemm", {name(a), name(b)}, c.shape, {0, 1},
                   {{"transA", int64_t{ta}}, {"transB", int64_t{tb}}, {"alpha", static_cast<float>(p.alpha)}});
  }
  // An operand, its last two axes in the order of op(v), or turned.
  const auto operand = [&](const Value& v, bool transposed, bool turn) {
    std::vector<int> order = as_it_is(v.shape.size());
    if (transposed != turn) std::swap(order[order.size() - 1], order[order.size() - 2]);
    return to.laid(v, order);
  };
  const bool turn = int(a.live() && ta) + int(b.live() && tb) > int(a.live() && !ta) + int(b.live() && !tb);
  const std::string left = operand(turn ? b : a, turn ? p.trans_b : p.trans_a, turn),
                    right = operand(turn ? a : b, turn ? p.trans_a : p.trans_b, turn);
  const std::vector<int> order = turn ? std::vector<int>{0, 2, 1} : as_it_is(3);
  return to.times(to.node("MatMul", {left, right}, c.shape, order), p.alpha);
}

Value conv2d(const Call& c) {
  const auto& p = c.op.as<Conv2d>();
  Tensor w = constant(c, c.in[1], "weights that depend on its inputs");
  const std::string name = c.to.name_of(w) + (p.gain == 1 ? "" : ".scaled");
  require(c, !p.transposed || p.groups == 1, "groups, transposed");
  const Ints window = {w.dim(1), w.dim(2)};
  w = permute(w, p.transposed ? std::vector<int>{3, 0, 1, 2} : channels_first) * p.gain;
  const int64_t y = p.pad, x = p.pad_x < 0 ? p.pad : p.pad_x;
  const Attributes attributes = {{"kernel_shape", window},
                                 {"strides", Ints{p.stride, p.stride}},
                                 {"pads", Ints{y, x, y + p.behind, x + p.behind}},
                                 {"group", int64_t{p.groups}}};
  return c.to.node(p.transposed ? "ConvTranspose" : "Conv",
                   {c.to.laid(c.to.filled(c.in[0]), channels_first), c.to.stored(w, name)}, c.shape, channels_first,
                   attributes);
}

// A convolution of each channel by itself. Taps of zero at the ends are left out.
Value upfirdn2d(const Call& c) {
  Fir p = c.op.as<Fir>();
  for (; p.taps.size() > 1 && p.taps.back() == 0; p.taps.pop_back()) --p.pad_x0, --p.pad_y0;
  for (; p.taps.size() > 1 && p.taps.front() == 0; p.taps.erase(p.taps.begin())) --p.pad_x1, --p.pad_y1;
  require(c, p.up == 1 || p.down == 1, "up and down at once");
  const bool transposed = p.up > 1;
  const int64_t taps = std::ssize(p.taps), C = c.shape.back();
  Ints pads = {p.pad_y0, p.pad_x0, p.pad_y1, p.pad_x1};
  if (transposed)  // what a transposed convolution has more than its result: it crops
    for (size_t i = 0; i < 4; ++i) pads[i] = taps - (i < 2 ? 1 : p.up) - pads[i];
  else
    std::ranges::reverse(p.taps);
  require(c, std::ranges::min(pads) >= 0, "pads that crop");
  std::vector<double> window;
  for (const double y : p.taps)
    for (const double x : p.taps) window.push_back(p.gain * y * x);
  const Tensor one = Tensor::from(std::span<const double>(window), {1, 1, taps, taps}, DType::f32, Device::cpu());
  return c.to.node(
      transposed ? "ConvTranspose" : "Conv",
      {c.to.laid(c.to.filled(c.in[0]), channels_first), c.to.stored(firn::expand(one, {C, 1, taps, taps}, DType::f32))},
      c.shape, channels_first,
      {{"kernel_shape", Ints{taps, taps}},
       {"strides", Ints(2, transposed ? p.up : p.down)},
       {"pads", pads},
       {"group", C}});
}

// --- sizes of images

Value upsample_nearest(const Call& c) {
  const std::vector<float> twice = {1, 1, 2, 2};
  const std::string scales = c.to.stored(Tensor::from(std::span(twice), {4}, DType::f32, Device::cpu()));
  const Value y =
      c.to.node("Resize", {c.to.laid(c.to.filled(c.in[0]), channels_first), "", scales}, c.shape, channels_first,
                {{"mode", std::string("nearest")},
                 {"coordinate_transformation_mode", std::string("asymmetric")},
                 {"nearest_mode", std::string("floor")}});
  return c.to.times(y, c.op.as<double>());
}

Value average_pool(const Call& c) {
  const Value y = c.to.node("AveragePool", {c.to.laid(c.to.filled(c.in[0]), channels_first)}, c.shape, channels_first,
                            {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}});
  return c.to.times(y, c.op.as<double>());
}

// --- layout

Value reshape(const Call& c) { return c.to.reshaped(c.in[0], c.shape); }

Value permute(const Call& c) {
  const auto& axes = c.op.as<std::vector<int>>();
  const Value x = c.to.filled(c.in[0]);
  std::vector<int> order;
  for (const int axis : x.order) order.push_back(static_cast<int>(std::ranges::find(axes, axis) - axes.begin()));
  return {.shape = c.shape, .name = x.name, .order = order, .constant = {}};
}

Value slice(const Call& c) {
  const auto& p = c.op.as<Slice>();
  const Value x = c.to.filled(c.in[0]);
  require(c, !of_batch(x.shape[size_t(p.axis)]), "some of the images");
  if (c.shape == x.shape) return x;
  return c.to.node("Slice",
                   {x.name, c.to.integers({p.begin}), c.to.integers({p.end}), c.to.integers({x.place(p.axis)})},
                   c.shape, x.order);
}

Value concat(const Call& c) {
  const int axis = c.op.as<int>();
  require(c, !of_batch(c.shape[size_t(axis)]), "images behind one another");
  std::vector<int> order = as_it_is(c.shape.size());
  if (const auto x = std::ranges::find_if(c.in, &Value::live); x != c.in.end()) order = x->order;
  std::vector<std::string> names;
  for (const Value& v : c.in) {
    require(c, v.live() || v.repeated() || !of_batch(c.shape), "values that are repeated for each image");
    names.push_back(c.to.laid(c.to.filled(v), order));
  }
  const auto place = std::ranges::find(order, axis) - order.begin();
  return c.to.node("Concat", names, c.shape, order, {{"axis", int64_t{place}}});
}

// --- rows by number

Value picked(const Call& c, const Tensor& table, const Value& index) {
  const Value y =
      c.to.node("Gather", {c.to.stored(table, c.to.name_of(table)), index.name}, c.shape, as_it_is(c.shape.size()));
  c.to.picked[y.name] = {table, index.name};
  return y;
}

Value gather(const Call& c) { return picked(c, constant(c, c.in[0], "a table that depends on its inputs"), c.in[1]); }

Value one_hot(const Call& c) {
  const int64_t classes = c.shape[1];
  std::vector<float> identity(size_t(classes * classes));
  for (int64_t i = 0; i < classes; ++i) identity[size_t(i * (classes + 1))] = 1;
  return picked(c, Tensor::from(std::span(identity), {classes, classes}, c.output.type(), Device::cpu()), c.in[0]);
}

}  // namespace

Translator translator_of(const std::string& op) {
  static const std::map<std::string, Translator> all = {
      {"add", [](const Call& c) { return binary(c, "Add"); }},
      {"sub", [](const Call& c) { return binary(c, "Sub"); }},
      {"mul", [](const Call& c) { return binary(c, "Mul"); }},
      {"div", [](const Call& c) { return binary(c, "Div"); }},
      {"sqrt", [](const Call& c) { return unary(c, "Sqrt"); }},
      {"exp", [](const Call& c) { return unary(c, "Exp"); }},
      {"log", [](const Call& c) { return unary(c, "Log"); }},
      {"abs", [](const Call& c) { return unary(c, "Abs"); }},
      {"tanh", [](const Call& c) { return unary(c, "Tanh"); }},
      {"sigmoid", [](const Call& c) { return unary(c, "Sigmoid"); }},
      {"softplus", [](const Call& c) { return unary(c, "Softplus"); }},
      {"square", square},
      {"rsqrt", rsqrt},
      {"affine", affine},
      {"cast", same},
      {"scale_channels", scale_channels},
      {"bias_act", bias_act},
      {"sum", sum},
      {"expand", expand},
      {"matmul", matmul},
      {"conv2d", conv2d},
      {"upfirdn2d", upfirdn2d},
      {"upsample_nearest", upsample_nearest},
      {"average_pool", average_pool},
      {"reshape", reshape},
      {"permute", permute},
      {"slice", slice},
      {"concat", concat},
      {"gather", gather},
      {"one_hot", one_hot},
  };
  const auto found = all.find(op);
  return found == all.end() ? nullptr : found->second;
}

}  // namespace firn::onnx
