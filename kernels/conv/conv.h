// Convolution behind one small interface. Providers: oneDNN (CPU; f32 and bf16), cuDNN (CUDA; f32 and bf16), the
// reference kernels of conv.cu (f64, and on CUDA what cuDNN has no plan for).
#pragma once
#include <map>
#include <memory>
#include <string>

#include "kernels/core/run.h"

namespace firn::kernels {

// A correlation from the big side [N,H,W,I] to the small side [N,OH,OW,O] with weights [O,KH,KW,I], all NHWC.
// `swapped` says that the weights are stored [I,KH,KW,O]: a transposed convolution keeps its own order.
// The weights used are gain times those stored.
struct ConvProblem {
  int64_t N, H, W, I, OH, OW, O;
  int KH, KW, stride, pad_y, pad_x;
  bool swapped = false;
  double gain = 1;
  DType type = DType::f32;  // of the activations; weights and their gradients are of acc_type(type)
};

// gain times the weights in bf16, which their optimiser writes whenever it writes them. Recorded phases read it where
// it lies; when somebody else has written the weights, it is made anew before they run (engine/replay.h).
struct RoundedCopy {
  std::shared_ptr<void> data;
  double gain = 1;
  uint64_t version = 0;  // of the weights that it is a copy of
  uint64_t epoch = 0;
  bool written = false;  // by the optimiser, at least once; else it lasts as long as the other entries
};

// What a provider derived from weights (packed, scaled, rounded), kept until the weights change.
struct WeightCache {
  uint64_t version = 0;  // of the weights that `entries` were made from
  uint64_t epoch = 0;    // forget_weight_caches() starts a new one (engine/tensor.h)
  std::map<std::string, std::shared_ptr<void>> entries;
  bool has_optimizer = false;  // that will keep `rounded` current
  bool lasting = true;         // what is made now may outlive this pass
  RoundedCopy rounded;
};

void conv_forward(const Stream&, const ConvProblem&, void* small, const void* big, const void* w, WeightCache&);
void conv_backward_data(const Stream&, const ConvProblem&, void* big, const void* small, const void* w, WeightCache&);
void conv_backward_weights(const Stream&, const ConvProblem&, void* dw, const void* big, const void* small);

// What may follow a convolution, as in kernels/ops/bias_act.h. slope 1 is the linear activation; clamp < 0 means none.
struct ConvEpilogue {
  const void* d = nullptr;         // [N,O]
  const void* noise = nullptr;     // [noise_images,OH,OW], with its strength
  const void* strength = nullptr;  // one number
  const void* b = nullptr;         // [O]
  int64_t noise_images = 1;
  double slope = 1, gain = 1, clamp = -1;
  const void* addend = nullptr;  // [N,OH,OW,O], of the problem's type
};

// small = clamp(gain lrelu(d conv(big, w) + strength noise + b)) + addend: one kernel where a provider has one that is
// no slower, otherwise conv_forward, then BiasAct and the sum in place.
void conv_bias_act(const Stream&, const ConvProblem&, const ConvEpilogue&, void* small, const void* big, const void* w,
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
