// Which processor's kernel computes a whole styled layer.
#include "kernels/styled/styled_conv.h"

#include "kernels/choice/provider_numerics.h"
#include "kernels/conv/winograd.h"
#include "kernels/styled/styled_conv_cuda.h"

namespace firn::kernels {

bool has_styled_conv(const Stream& stream, const ConvProblem& p) {
  if constexpr (kCudaBuild)
    if (stream.is_cuda) return cuda::has_styled_conv(stream, p);
  return fits_winograd(stream, p);
}

void styled_conv(const Stream& stream, const ConvProblem& p, const Epilogue<>& e, void* y, const void* x, const void* s,
                 const void* w, WeightCache& cache) {
  if constexpr (kCudaBuild)
    if (stream.is_cuda) return cuda::styled_conv(stream, p, e, y, x, s, w, cache);
  note_launch("styled_conv");
  winograd_forward(stream, p, e, y, x, s, w);
}

bool has_styled_conv_up(const Stream& stream, const ConvProblem& p) {
  if constexpr (kCudaBuild) return stream.is_cuda && cuda::has_styled_conv_up(stream, p);
  return false;
}

bool styled_conv_up(const Stream& stream, const ConvProblem& p, const Taps& f, const Epilogue<>& e, void* y,
                    const void* x, const void* s, const void* w, WeightCache& cache, const InSteps& in_steps) {
  if constexpr (kCudaBuild) return cuda::styled_conv_up(stream, p, f, e, y, x, s, w, cache, in_steps);
  throw_without_cuda("styled_conv_up");
}

bool has_styled_conv_down(const Stream& stream, const ConvProblem& p) {
  if constexpr (kCudaBuild) return stream.is_cuda && cuda::has_styled_conv_down(stream, p);
  return false;
}

bool styled_conv_down(const Stream& stream, const ConvProblem& p, const Taps& f, const Epilogue<>& e, void* y,
                      const void* x, const void* w, WeightCache& cache, const InSteps& in_steps) {
  if constexpr (kCudaBuild) return cuda::styled_conv_down(stream, p, f, e, y, x, w, cache, in_steps);
  throw_without_cuda("styled_conv_down");
}

}  // namespace firn::kernels
