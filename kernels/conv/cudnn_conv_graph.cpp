#include "kernels/conv/cudnn_conv_graph.h"

namespace firn::kernels::cudnn {

namespace {

// Engines like symmetric padding best: it is used where rounding down gives the same output.
int64_t padding_after(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t before) {
  if ((in + 2 * before - kernel) / stride + 1 == out) return before;
  return (out - 1) * stride + kernel - before - in;
}

Window window(const ConvProblem& p) {
  return {
      .stride = {p.stride, p.stride},
      .before = {p.pad_y, p.pad_x},
      .after = {padding_after(p.H, p.OH, p.KH, p.stride, p.pad_y), padding_after(p.W, p.OW, p.KW, p.stride, p.pad_x)}};
}

}  // namespace

ConvGraph conv_graph(const ConvProblem& p, Pass pass, bool packed) {
  ConvGraph g;
  const Sizes big{p.N, p.H, p.W, p.I}, small{p.N, p.OH, p.OW, p.O},
      weights{p.O, p.KH, p.KW, p.group_inputs()};  // cuDNN counts the groups
  const double gain = packed ? 1 : p.gain;
  if (pass != Pass::data) g.big = g.graph.input(big, p.type);
  if (pass != Pass::forward) g.small = g.graph.input(small, p.type);
  if (pass == Pass::forward || pass == Pass::data) g.weights = g.graph.input(weights, p.type);
  if (pass == Pass::forward) {
    g.small = g.graph.conv_forward(window(p), g.big, g.weights, small, gain);
    g.graph.output(g.small, p.type);
  } else if (pass == Pass::data) {
    g.big = g.graph.conv_backward_data(window(p), g.small, g.weights, big, gain);
    g.graph.output(g.big, p.type);
  } else if (pass == Pass::weights_rounded) {
    g.weights = g.graph.conv_backward_weights(window(p), g.big, g.small, weights);
    g.graph.output(g.weights, p.type);
  } else if (p.type == DType::f32) {
    g.weights = g.graph.conv_backward_weights(window(p), g.big, g.small, weights, gain);
    g.graph.output(g.weights, DType::f32);
  } else {
    // No engine gives f32 gradients of bf16 operands by itself; those generated with a product behind it do.
    const Value dw = g.graph.conv_backward_weights(window(p), g.big, g.small, weights);
    g.weights = g.graph.multiply(dw, g.graph.constant(static_cast<float>(gain)));
    g.graph.output(g.weights, DType::f32);
  }
  return g;
}

ConvGraph conv_bias_act_graph(const ConvProblem& p, const Epilogue<>& e) {
  ConvGraph g;
  Graph& graph = g.graph;
  g.big = graph.input({p.N, p.H, p.W, p.I}, p.type);
  g.weights = graph.input({p.O, p.KH, p.KW, p.group_inputs()}, p.type);
  Value v = graph.conv_forward(window(p), g.big, g.weights, {p.N, p.OH, p.OW, p.O});
  if (e.b) v = graph.add(v, g.b = graph.input({1, 1, 1, p.O}, DType::f32));
  if (e.slope != 1) v = graph.leaky_relu(v, e.slope);
  if (e.gain != 1) v = graph.multiply(v, graph.constant(static_cast<float>(e.gain)));
  if (e.clamp >= 0) {
    const auto limit = static_cast<float>(e.clamp);
    v = graph.maximum(graph.minimum(v, graph.constant(limit)), graph.constant(-limit));
  }
  if (e.addend) v = graph.add(v, g.addend = graph.input({p.N, p.OH, p.OW, p.O}, p.type));
  graph.output(g.small = v, p.type);
  return g;
}

}  // namespace firn::kernels::cudnn
