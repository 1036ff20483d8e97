#include "kernels/conv/winograd.h"

#include <omp.h>

#include "kernels/conv/conv_stride2.h"
#include "kernels/core/cpu_target.h"
#include "kernels/device/memory.h"

namespace firn::kernels {

namespace {

const WinogradKernels& compiled(const ConvProblem& p) {
  const bool one = p.stride == 1;
#ifdef __x86_64__
  if (cpu_target() == CpuTarget::avx512) return one ? avx512::winograd : avx512::winograd_stride2;
  if (cpu_target() == CpuTarget::avx2) return one ? avx2::winograd : avx2::winograd_stride2;
#endif
  return one ? baseline::winograd : baseline::winograd_stride2;
}

Winograd forward(const ConvProblem& p) {
  return {.N = p.N, .H = p.H, .W = p.W, .K = p.I, .OH = p.OH, .OW = p.OW, .C = p.O, .pad_y = p.pad_y, .pad_x = p.pad_x};
}

// From small to big. With stride 1 a correlation as well: each big pixel sees what it went to.
Winograd backward(const ConvProblem& p) {
  const int turned = p.stride == 1 ? 2 : 0;
  return {.N = p.N,
          .H = p.OH,
          .W = p.OW,
          .K = p.O,
          .OH = p.H,
          .OW = p.W,
          .C = p.I,
          .pad_y = turned - p.pad_y,
          .pad_x = turned - p.pad_x,
          .transposed = p.stride == 2};
}

// Between channels k of what is read and c of what is written; weights are [O,3,3,I], or [I,3,3,O] where swapped.
WinogradTaps taps(const ConvProblem& p, bool back) {
  const int64_t inner = p.swapped ? p.O : p.I, outer_stride = 9 * inner;
  const bool k_is_inner = p.swapped == back;
  return {.stride_k = k_is_inner ? 1 : outer_stride,
          .stride_c = k_is_inner ? outer_stride : 1,
          .stride_tap = inner,
          .turned = back && p.stride == 1,
          .gain = static_cast<float>(p.gain)};
}

double products(const ConvProblem& p) {
  const Winograd q = forward(p);
  return (p.stride == 2 ? 81 : 36) * double(q.tiles()) * double(q.K * q.C);
}

void convolve(const Stream& stream, const ConvProblem& p, const Winograd& q, bool back, const Epilogue<>& e, void* y,
              const void* x, const void* s, const void* w) {
  note_flops(p.flops(), 2 * products(p));
  const int threads = omp_get_max_threads();
  const Scratch scratch(stream, sizeof(float) * static_cast<size_t>(compiled(p).scratch_size(q, threads)));
  compiled(p).convolve(p.type, q, taps(p, back), e.as<float>(), y, x, static_cast<const float*>(s),
                       static_cast<const float*>(w), static_cast<float*>(scratch.data()), threads);
}

}  // namespace

bool fits_winograd(const Stream& stream, const ConvProblem& p) {
  constexpr int64_t least_channels = 16, least_tiles = 4;
  const auto channels = [](int64_t c) { return c >= least_channels && c <= kMostWinogradChannels; };
  const bool of_type = p.type == DType::f32 || (p.type == DType::bf16 && !has_amx());
  const bool of_stride = p.stride == 1 ? p.pad_y <= 2 && p.pad_x <= 2 : halves(p);
  return !stream.is_cuda && of_type && p.groups == 1 && p.KH == 3 && p.KW == 3 && of_stride && channels(p.I) &&
         channels(p.O) && forward(p).tiles() >= least_tiles && 2 * products(p) < .9 * p.flops();
}

void winograd_forward(const Stream& stream, const ConvProblem& p, const Epilogue<>& e, void* small, const void* big,
                      const void* s, const void* w) {
  convolve(stream, p, forward(p), false, e, small, big, s, w);
}

void winograd_backward_data(const Stream& stream, const ConvProblem& p, void* big, const void* small, const void* w) {
  convolve(stream, p, backward(p), true, {}, big, small, nullptr, w);
}

void winograd_backward_weights(const Stream& stream, const ConvProblem& p, void* dw, const void* big,
                               const void* small) {
  const Winograd q = forward(p);
  note_flops(p.flops(), 2 * products(p));
  const int threads = omp_get_max_threads();
  const auto floats = static_cast<size_t>(compiled(p).gradient_scratch_size(q, !p.swapped, threads));
  const Scratch scratch(stream, sizeof(float) * floats);
  compiled(p).weight_gradient(p.type, q, taps(p, false), !p.swapped, static_cast<float*>(dw), big, small,
                              static_cast<float*>(scratch.data()), threads);
}

}  // namespace firn::kernels
