#include "kernels/conv/conv_wgrad_gemm.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/device/memory.h"
#include "kernels/device/onednn.h"
#include "kernels/gemm/gemm.h"

namespace firn::kernels {

namespace {

// The pixels of `big` that one tap reads, as a matrix [N OH OW, I]; zero where the tap is outside the image.
void gather(const ConvProblem& p, const float* big, int ky, int kx, float* out) {
  const int64_t x0 = std::max<int64_t>(0, (p.pad_x - kx + p.stride - 1) / p.stride);  // whose tap is inside, to
  const int64_t x1 = std::max(x0, std::min(p.OW, (p.W - 1 + p.pad_x - kx) / p.stride + 1));
#pragma omp parallel for collapse(2) schedule(static)
  for (int64_t n = 0; n < p.N; ++n)
    for (int64_t y = 0; y < p.OH; ++y) {
      float* const to = out + (n * p.OH + y) * p.OW * p.I;
      const int64_t iy = y * p.stride + ky - p.pad_y;
      const bool inside = iy >= 0 && iy < p.H;
      std::fill(to, to + (inside ? x0 : p.OW) * p.I, 0.0f);
      if (!inside) continue;
      const float* const from = big + ((n * p.H + iy) * p.W + x0 * p.stride + kx - p.pad_x) * p.I;
      for (int64_t x = x0; x < x1; ++x) std::copy_n(from + (x - x0) * p.stride * p.I, p.I, to + x * p.I);
      std::fill(to + x1 * p.I, to + p.OW * p.I, 0.0f);
    }
}

}  // namespace

bool prefers_gemm_wgrad(const ConvProblem& p) {
  return p.type == DType::f32 && p.groups == 1 && p.KH > 1 && (p.stride > 1 || p.OW < 16) && p.I % 16 == 0 &&
         p.O % 16 == 0;
}

bool is_gemm_wgrad(const ConvProblem& p) {
  return p.type == DType::f32 && p.groups == 1 && p.KH == 1 && p.KW == 1 && p.stride == 1 && p.H == p.OH && p.W == p.OW;
}

void conv_backward_weights_1x1(const Stream& stream, const ConvProblem& p, void* dw, const void* big,
                               const void* small) {
  const bool i_first = p.swapped;
  gemm(stream,
       {.batch = 1,
        .M = i_first ? p.I : p.O,
        .N = i_first ? p.O : p.I,
        .K = p.N * p.OH * p.OW,
        .trans_a = true,
        .trans_b = false,
        .share_a = true,
        .share_b = true,
        .alpha = p.gain,
        .type = DType::f32,
        .y_type = DType::f32},
       dw, i_first ? big : small, i_first ? small : big);
}

void conv_backward_weights_gemm(const Stream& stream, const ConvProblem& p, float* dw, const float* big,
                                const float* small) {
  const int64_t P = p.N * p.OH * p.OW, taps = int64_t{p.KH} * p.KW;
  const size_t bytes = sizeof(float) * static_cast<size_t>(P * p.I);
  onednn::require_room_once();
  auto* pixels = static_cast<float*>(allocate(stream, bytes));
  const float gain = static_cast<float>(p.gain);
  dnnl_status_t status = dnnl_success;
  for (int64_t t = 0; t < taps && status == dnnl_success; ++t) {
    gather(p, big, int(t) / p.KW, int(t) % p.KW, pixels);
    // Each tap is a strided submatrix of dw: [O,tap,I], or [I,tap,O] where the weights are stored that way.
    status = p.swapped ? dnnl_sgemm('T', 'N', p.I, p.O, P, gain, pixels, p.I, small, p.O, 0, dw + t * p.O, taps * p.O)
                       : dnnl_sgemm('T', 'N', p.O, p.I, P, gain, small, p.O, pixels, p.I, 0, dw + t * p.I, taps * p.I);
  }
  release(stream, pixels, bytes);
  if (status != dnnl_success) throw DeviceError("conv_backward_weights: oneDNN's matrix product failed");
}

}  // namespace firn::kernels
