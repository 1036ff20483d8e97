// The graphs of a convolution and its adjoints. Nothing here needs a GPU, so tests plan every shape for every
// architecture.
#pragma once
#include "kernels/choice/cudnn_graph.h"
#include "kernels/conv/conv.h"

namespace firn::kernels::cudnn {

// weights_rounded: the gradient in p.type, without gain, where no engine keeps it in f32.
enum class Pass { forward, data, weights, weights_rounded };

struct ConvGraph {
  Graph graph;
  Value big, small, weights;  // weights [O,KH,KW,I]: of p.type, their gradient f32 unless rounded
  Value b = 0, addend = 0;    // of the epilogue; 0: it has none
};

// With packed weights the gain is already in them; otherwise the graph applies it. f32 or bf16.
ConvGraph conv_graph(const ConvProblem&, Pass, bool packed);
// The epilogue's terms after the convolution, all in f32 inside the one kernel. Weights are packed; d and noise are
// none.
ConvGraph conv_bias_act_graph(const ConvProblem&, const Epilogue<>&);

}  // namespace firn::kernels::cudnn
