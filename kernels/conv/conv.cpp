// Which provider runs a convolution.
#include "kernels/conv/conv.h"

#include "kernels/choice/provider_numerics.h"
#include "kernels/conv/conv_cudnn.h"
#include "kernels/conv/conv_onednn.h"
#include "kernels/conv/conv_stride2.h"
#include "kernels/conv/conv_wgrad_amx.h"
#include "kernels/conv/conv_wgrad_gemm.h"
#include "kernels/conv/winograd.h"
#include "kernels/ops/bias_act.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/wide.h"

namespace firn::kernels {

namespace {
bool use_onednn(const Stream& stream, const ConvProblem& p) { return !stream.is_cuda && p.type != DType::f64; }

bool use_cudnn(const Stream& stream, const ConvProblem& p) {
  return stream.is_cuda && p.type != DType::f64 && numerics(stream).libraries && p.N > 0;
}

// Without AMX products of bf16 are not used, there bf16 only stores: of oneDNN they take half the time of those of f32
// or twice, by processor, and are too few in an iteration to matter beside Winograd's.
bool only_stores(const Stream& stream, const ConvProblem& p) {
  return use_onednn(stream, p) && p.type == DType::bf16 && !has_amx();
}

ConvProblem in_f32(ConvProblem p) {
  p.type = DType::f32;
  return p;
}

void forward(const Stream& stream, const ConvProblem& p, void* small, const void* big, const void* w,
             WeightCache& cache) {
  if (fits_winograd(stream, p)) return winograd_forward(stream, p, {}, small, big, nullptr, w);
  if (only_stores(stream, p)) {
    const Wide x(stream, p.big_count(), big), y(stream, p.small_count());
    forward(stream, in_f32(p), y.data(), x.data(), w, cache);
    return y.round_to(small);
  }
  note_flops(p.flops());
  if (use_onednn(stream, p)) return onednn::conv_forward(p, small, big, w, cache);
  if constexpr (kCudaBuild)
    if (use_cudnn(stream, p) && cudnn::conv_forward(stream, p, small, big, w, cache)) return;
  dispatch(p.type, [&](auto tag) {
    using T = decltype(tag);
    run(stream, ConvForward<T>{static_cast<T*>(small), static_cast<const T*>(big), static_cast<const acc_t<T>*>(w), p});
  });
}

void backward_data(const Stream& stream, const ConvProblem& p, void* big, const void* small, const void* w,
                   WeightCache& cache) {
  if (fits_winograd(stream, p)) return winograd_backward_data(stream, p, big, small, w);
  if (only_stores(stream, p)) {
    const Wide y(stream, p.small_count(), small), x(stream, p.big_count());
    backward_data(stream, in_f32(p), x.data(), y.data(), w, cache);
    return x.round_to(big);
  }
  if (use_onednn(stream, p) && has_phases(p)) return conv_backward_data_by_phases(stream, p, big, small, w, cache);
  note_flops(p.flops());
  if (use_onednn(stream, p)) return onednn::conv_backward_data(p, big, small, w, cache);
  if constexpr (kCudaBuild)
    if (use_cudnn(stream, p) && cudnn::conv_backward_data(stream, p, big, small, w, cache)) return;
  dispatch(p.type, [&](auto tag) {
    using T = decltype(tag);
    run(stream,
        ConvBackwardData<T>{static_cast<T*>(big), static_cast<const T*>(small), static_cast<const acc_t<T>*>(w), p});
  });
}

void backward_weights(const Stream& stream, const ConvProblem& p, void* dw, const void* big, const void* small) {
  if (fits_winograd(stream, p)) return winograd_backward_weights(stream, p, dw, big, small);
  if (only_stores(stream, p)) {
    const Wide x(stream, p.big_count(), big), y(stream, p.small_count(), small);
    return backward_weights(stream, in_f32(p), dw, x.data(), y.data());
  }
  if (use_onednn(stream, p) && !fits_amx_wgrad(p) && is_gemm_wgrad(p))
    return conv_backward_weights_1x1(stream, p, dw, big, small);
  note_flops(p.flops());
  if (use_onednn(stream, p)) {
    if (fits_amx_wgrad(p))
      return conv_backward_weights_amx(p, static_cast<float*>(dw), static_cast<const bf16*>(big),
                                       static_cast<const bf16*>(small));
    if (prefers_gemm_wgrad(p))
      return conv_backward_weights_gemm(stream, p, static_cast<float*>(dw), static_cast<const float*>(big),
                                        static_cast<const float*>(small));
    return onednn::conv_backward_weights(p, dw, big, small);
  }
  if constexpr (kCudaBuild)
    if (use_cudnn(stream, p) && cudnn::conv_backward_weights(stream, p, dw, big, small)) return;
  dispatch(p.type, [&](auto tag) {
    using T = decltype(tag);
    run(stream, ConvBackwardWeights<T>{static_cast<acc_t<T>*>(dw), static_cast<const T*>(big),
                                       static_cast<const T*>(small), p});
  });
}

}  // namespace

void conv_forward(const Stream& stream, const ConvProblem& p, void* small, const void* big, const void* w,
                  WeightCache& cache) {
  note_launch("conv_forward");
  forward(stream, p, small, big, w, cache);
}

void conv_backward_data(const Stream& stream, const ConvProblem& p, void* big, const void* small, const void* w,
                        WeightCache& cache) {
  note_launch("conv_backward_data");
  backward_data(stream, p, big, small, w, cache);
}

void conv_backward_weights(const Stream& stream, const ConvProblem& p, void* dw, const void* big, const void* small) {
  note_launch("conv_backward_weights");
  backward_weights(stream, p, dw, big, small);
}

bool has_conv_bias_act(const Stream& stream, const ConvProblem& p, const Epilogue<>& e) {
  return fits_winograd(stream, p) || (use_onednn(stream, p) && !only_stores(stream, p) && onednn::has_conv_relu(p, e));
}

void conv_bias_act(const Stream& stream, const ConvProblem& p, const Epilogue<>& e, void* small, const void* big,
                   const void* w, WeightCache& cache) {
  note_launch("conv_bias_act");
  if (has_conv_bias_act(stream, p, e)) {
    if (fits_winograd(stream, p)) return winograd_forward(stream, p, e, small, big, nullptr, w);
    note_flops(p.flops());
    return onednn::conv_relu(p, e, small, big, w, cache);
  }
  const auto in_two_passes = [&] {
    conv_forward(stream, p, small, big, w, cache);
    const bool plain = !e.d && !e.noise && !e.b && e.is_linear() && e.gain == 1;
    dispatch(p.type, [&](auto tag) {
      using T = decltype(tag);
      if (!plain)
        run(stream,
            BiasAct<T>{static_cast<T*>(small), static_cast<const T*>(small), p.N, p.OH * p.OW, p.O, e.as<acc_t<T>>()});
      if (e.addend)
        run(stream, Binary<T>{static_cast<T*>(small),
                              static_cast<const T*>(small),
                              static_cast<const T*>(e.addend),
                              BinaryOp::add,
                              1,
                              {p.N * p.OH * p.OW * p.O},
                              {1},
                              {1}});
    });
  };
  if constexpr (kCudaBuild)
    // A minimum may hide a NaN, which must be seen. With a factor of each image and channel, and noise, which comes
    // with it, engine 7 of cuDNN 9.14 computes something else (H200), and engine 4 reads a misaligned address (H100).
    if (use_cudnn(stream, p) && e.clamp < 0 && !e.d && !e.noise)
      return cudnn::conv_bias_act(stream, p, e, small, big, w, cache, in_two_passes);
  in_two_passes();
}

}  // namespace firn::kernels
