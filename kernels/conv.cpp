// Which provider runs a convolution.
#include "kernels/conv.h"

#include "kernels/conv_onednn.h"
#include "kernels/conv_stride2.h"
#include "kernels/conv_wgrad_amx.h"
#include "kernels/conv_wgrad_gemm.h"

namespace firn::kernels {

namespace {
bool use_onednn(const Stream& stream, const ConvProblem& p) { return !stream.is_cuda && p.type != DType::f64; }
}  // namespace

void conv_forward(const Stream& stream, const ConvProblem& p, void* small, const void* big, const void* w,
                  WeightCache& cache) {
  note_launch("conv_forward");
  if (use_onednn(stream, p)) return onednn::conv_forward(p, small, big, w, cache);
  dispatch(p.type, [&](auto tag) {
    using T = decltype(tag);
    run(stream, ConvForward<T>{static_cast<T*>(small), static_cast<const T*>(big), static_cast<const acc_t<T>*>(w), p});
  });
}

void conv_backward_data(const Stream& stream, const ConvProblem& p, void* big, const void* small, const void* w,
                        WeightCache& cache) {
  note_launch("conv_backward_data");
  if (use_onednn(stream, p)) {
    if (has_phases(p)) return conv_backward_data_by_phases(stream, p, big, small, w, cache);
    return onednn::conv_backward_data(p, big, small, w, cache);
  }
  dispatch(p.type, [&](auto tag) {
    using T = decltype(tag);
    run(stream,
        ConvBackwardData<T>{static_cast<T*>(big), static_cast<const T*>(small), static_cast<const acc_t<T>*>(w), p});
  });
}

void conv_backward_weights(const Stream& stream, const ConvProblem& p, void* dw, const void* big, const void* small) {
  note_launch("conv_backward_weights");
  if (use_onednn(stream, p)) {
    if (fits_amx_wgrad(p))
      return conv_backward_weights_amx(p, static_cast<float*>(dw), static_cast<const bf16*>(big),
                                       static_cast<const bf16*>(small));
    if (prefers_gemm_wgrad(p))
      return conv_backward_weights_gemm(stream, p, static_cast<float*>(dw), static_cast<const float*>(big),
                                        static_cast<const float*>(small));
    return onednn::conv_backward_weights(p, dw, big, small);
  }
  dispatch(p.type, [&](auto tag) {
    using T = decltype(tag);
    run(stream, ConvBackwardWeights<T>{static_cast<acc_t<T>*>(dw), static_cast<const T*>(big),
                                       static_cast<const T*>(small), p});
  });
}

}  // namespace firn::kernels
