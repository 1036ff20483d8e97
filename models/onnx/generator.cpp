#include "models/onnx/generator.h"

#include <algorithm>

#include "base/error.h"
#include "models/onnx/translation.h"

namespace firn::onnx {
namespace {

// What the network is made to run on.
struct Inputs {
  Tensor z, labels, psi, ws;

  Inputs(const Generator& g, const Options& o, int64_t n) {
    const auto* styled = dynamic_cast<const StyleGenerator*>(&g);
    if (o.part == Part::synthesis) {
      ws = Tensor::zeros({n, styled->num_ws(), styled->w_dim()}, g.type(), g.device());
      return;
    }
    z = Tensor::zeros({n, g.z_dim()}, g.type(), g.device());
    if (g.classes()) labels = Tensor::zeros({n}, DType::i32, g.device());
    if (takes_psi(g, o)) psi = Tensor::full({}, o.psi, g.type(), g.device());
  }
};

// average + psi (ws - average), of the styles that are truncated.
Tensor truncated(const StyleGenerator& g, const Tensor& ws, const Tensor& psi, int cutoff) {
  const Tensor averages = g.broadcast(Tensor::zeros({1, g.w_dim()}, g.type(), g.device()), {.psi = 0});
  const int64_t all = ws.dim(1), some = cutoff < 0 ? all : std::min<int64_t>(cutoff, all);
  const Tensor average = slice(averages, 1, 0, some);
  const Tensor towards = average + (slice(ws, 1, 0, some) - average) * psi;
  return some == all ? towards : concat({towards, slice(ws, 1, some, all)}, 1);
}

Tensor run(const Generator& g, const Options& o, const Inputs& in) {
  const auto* styled = dynamic_cast<const StyleGenerator*>(&g);
  if (o.part == Part::synthesis) return styled->synthesize(in.ws, o.noise);
  if (!styled) return g.image(g.code(in.z, in.labels), o.noise);
  Tensor ws = styled->broadcast(styled->map(in.z, in.labels));
  if (in.psi.defined()) ws = truncated(*styled, ws, in.psi, o.cutoff);
  return o.part == Part::mapping ? ws : styled->synthesize(ws, o.noise);
}

// From [-1,1], rounded to nearest even and clamped, as image_from_floats() does.
Value in_bytes(Translation& to, const Value& images) {
  const auto then = [&](const char* op, const Value& v, std::vector<double> bounds = {}) {
    std::vector<std::string> inputs = {v.name};
    for (const double k : bounds) inputs.push_back(to.stored(Tensor::full({}, k, DType::f32, Device::cpu())));
    return to.node(op, inputs, v.shape, v.order);
  };
  const Value rounded = then("Round", to.plus(to.times(images, 127.5), 127.5)),
              clamped = then("Clip", rounded, {0, 255});
  return to.node("Cast", {clamped.name}, clamped.shape, clamped.order, {{"to", static_cast<int64_t>(OnnxType::u8)}});
}

void check(const Generator& g, const Options& o) {
  const bool styled = dynamic_cast<const StyleGenerator*>(&g);
  if (!styled && o.part != Part::whole)
    throw ConfigError("this network is not style-based: it has no mapping and synthesis");
  if (!styled && (o.psi != 1 || o.cutoff >= 0)) throw ConfigError("truncation: this network is not style-based");
  if (g.prior())
    throw ConfigError("this network draws its latents in a way of its own, which an ONNX file cannot hold");
}

}  // namespace

bool takes_psi(const Generator& g, const Options& o) {
  return o.part != Part::synthesis && o.cutoff != 0 && dynamic_cast<const StyleGenerator*>(&g);
}

OnnxGraph to_graph(const Generator& g, const Options& o) {
  check(g, o);
  const NoGrad no_grad;
  const Inputs two(g, o, images_of_shapes), three(g, o, images_of_translation);
  Shapes shapes;
  {
    const Watch watch(&shapes);
    run(g, o, two);
  }
  Translation to(shapes);
  for (const Parameter& p : g.parameters()) to.name(p.value(), p.name());
  if (three.ws.defined()) to.input(three.ws, "ws");
  if (three.z.defined()) to.input(three.z, "z");
  if (three.labels.defined()) to.input(three.labels, "labels", OnnxType::i64);
  if (three.psi.defined()) to.input(three.psi, "psi");
  Tensor result;
  {
    const Watch watch(&to);
    result = run(g, o, three);
  }
  const bool images = o.part != Part::mapping, bytes = images && o.bytes;
  const Value value = to.value_of(result);
  OnnxGraph graph = to.finish("generator", images ? "images" : "ws", bytes ? in_bytes(to, value) : value,
                              bytes ? OnnxType::u8 : OnnxType::f32);
  if (three.psi.defined() && o.psi_by_default) {
    const auto psi = static_cast<float>(o.psi);
    graph.initializers.emplace_back("psi", StoredTensor::of(std::span(&psi, 1), {}));
  }
  return graph;
}

}  // namespace firn::onnx
