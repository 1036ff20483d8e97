// Convolution behind one small interface. Providers: Winograd kernels of our own and oneDNN (CPU; f32 and bf16), cuDNN
// (CUDA; f32 and bf16), the reference kernels of conv.cu (f64, and on CUDA what cuDNN has no plan for).
#pragma once
#include "kernels/core/run.h"
#include "kernels/ops/epilogue.h"

namespace firn::kernels {

// A correlation from the big side [N,H,W,I] to the small side [N,OH,OW,O] with weights [O,KH,KW,I/groups], all NHWC.
// `swapped` says that the weights are stored [I,KH,KW,O/groups]: a transposed convolution keeps its own order.
// The weights used are gain times those stored.
struct ConvProblem {
  int64_t N, H, W, I, OH, OW, O;
  int KH, KW, stride, pad_y, pad_x;
  bool swapped = false;
  double gain = 1;
  DType type = DType::f32;  // of the activations; weights and their gradients are of acc_type(type)
  int groups = 1;           // of as many channels on each side
  FIRN_DEVICE int64_t group_inputs() const { return I / groups; }
  FIRN_DEVICE int64_t group_outputs() const { return O / groups; }
  int64_t weights() const { return O * KH * KW * group_inputs(); }
  int64_t big_count() const { return N * H * W * I; }
  int64_t small_count() const { return N * OH * OW * O; }
  double flops() const { return 2.0 * double(N * OH * OW * weights()); }  // of the definition
};

class WeightCache;  // weight_cache.h: of weights w, what was derived from them

void conv_forward(const Stream&, const ConvProblem&, void* small, const void* big, const void* w, WeightCache&);
void conv_backward_data(const Stream&, const ConvProblem&, void* big, const void* small, const void* w, WeightCache&);
void conv_backward_weights(const Stream&, const ConvProblem&, void* dw, const void* big, const void* small);

// small = e(conv(big, w)) + addend: one kernel where a provider has one that is
// no slower, otherwise conv_forward, then BiasAct and the sum in place.
bool has_conv_bias_act(const Stream&, const ConvProblem&, const Epilogue<>& e);  // whether the CPU has one kernel
void conv_bias_act(const Stream&, const ConvProblem&, const Epilogue<>& e, void* small, const void* big, const void* w,
                   WeightCache&);

// The definition, one output element (or vector of channels) at a time.
template <class T>
struct ConvForward {
  static constexpr const char* name = "conv_forward_reference";
  T* small;
  const T* big;
  const acc_t<T>* w;
  ConvProblem p;
  FIRN_DEVICE int64_t blocks() const { return p.N * p.OH * p.OW; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

template <class T>
struct ConvBackwardData {
  static constexpr const char* name = "conv_backward_data_reference";
  T* big;
  const T* small;
  const acc_t<T>* w;
  ConvProblem p;
  FIRN_DEVICE int64_t blocks() const { return p.N * p.H * p.W; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

template <class T>
struct ConvBackwardWeights {
  static constexpr const char* name = "conv_backward_weights_reference";
  acc_t<T>* dw;
  const T* big;
  const T* small;
  ConvProblem p;
  FIRN_DEVICE int64_t blocks() const { return p.O * p.KH * p.KW; }
  template <class Team>
  FIRN_DEVICE void operator()(Team t) const;
};

}  // namespace firn::kernels
