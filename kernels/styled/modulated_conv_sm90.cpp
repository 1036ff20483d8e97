// Which pixels and outputs make a tile, and how the copy engine finds them.
#include "kernels/styled/modulated_conv_sm90.h"

#include <tuple>

#include "base/error.h"

#ifdef FIRN_CUDA
#include "kernels/core/cuda_check.h"
#endif

namespace firn::kernels {

namespace {

constexpr int64_t kSharedLimit = 227 << 10;  // of a block on sm_90
constexpr int64_t kEnoughBlocks = 120;       // an H100 has 114 or 132 multiprocessors; not measured
constexpr int kLogMostSamples = 3;           // of a tile: eight of 4x4 pixels fill it

// The box that needs fewest tiles; of those, one of few samples and nearly square, whose neighbours share pixels.
PixelBox box_for(const ModulatedConvProblem& p) {
  PixelBox best{};
  const auto cost = [&](const PixelBox& b) { return std::tuple(b.count(p), b.log_n, b.w() + b.h()); };
  for (int n = 0; n <= kLogMostSamples; ++n)
    for (int h = 0; n + h <= 7; ++h)
      if (const PixelBox b{.log_w = 7 - n - h, .log_h = h, .log_n = n}; cost(b) < cost(best)) best = b;
  return best;
}

template <class F>
auto with_outputs(int outputs, F&& f) {
  if (outputs == 64) return f(std::integral_constant<int, 64>{});
  if (outputs == 128) return f(std::integral_constant<int, 128>{});
  return f(std::integral_constant<int, 256>{});
}

// The most that leave no multiprocessor without work: x is scaled once for all of a tile.
int outputs_for(const ModulatedConvProblem& p, const PixelBox& box) {
  for (const int outputs : {256, 128})
    if (p.O > outputs / 2 && box.count(p) * ((p.O + outputs - 1) / outputs) >= kEnoughBlocks) return outputs;
  return 64;
}

}  // namespace

bool fits_sm90(const ModulatedConvProblem& p) {
  if (!fits(p) || p.I % 64 || p.N == 0) return false;
  return with_outputs(256, [&](auto outputs) {
    ModulatedConvSm90<outputs, Scales::each> kernel{.p = p};
    kernel.box.log_n = kLogMostSamples;
    return kernel.shared_bytes() <= kSharedLimit;
  });
}

#ifdef FIRN_CUDA

bool has_modulated_conv_sm90(const Stream& stream) {
  if (!has_code_for_sm90a()) return false;
  int major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, stream.device));
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, stream.device));
  return major == 9 && minor == 0;
}

#else

bool has_modulated_conv_sm90(const Stream&) { return false; }

#endif

void modulated_conv_sm90(const Stream& stream, const ModulatedConvProblem& p, const ModulatedConvOperands& a,
                         int outputs) {
  check_operands("modulated_conv_sm90", p, a, fits_sm90(p));
  const PixelBox box = box_for(p);
  with_outputs(outputs ? outputs : outputs_for(p, box), [&](auto outputs) {
    const auto launch = [&](auto scales) {
      using Kernel = ModulatedConvSm90<outputs, scales>;
      constexpr int channels = Kernel::channels;
      run(stream, Kernel{.x = tensor_map(a.x, {p.I, p.W, p.H, p.N}, {channels, box.w(), box.h(), box.n()}),
                         .w = tensor_map(a.w, {p.K * p.K * p.I, p.O}, {channels, outputs}),
                         .p = p,
                         .a = a,
                         .box = box});
    };
    using std::integral_constant;
    if (!a.s) return launch(integral_constant<Scales, Scales::none>{});
    if (box.n() == 1) return launch(integral_constant<Scales, Scales::one>{});
    launch(integral_constant<Scales, Scales::each>{});
  });
}

}  // namespace firn::kernels
