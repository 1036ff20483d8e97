// Candidates: our tensor-core kernels; or scaling, then a convolution whose epilogue may be fused. Measured once a
// shape.
#include "kernels/styled_conv.h"

#ifdef FIRN_CUDA
#include <array>
#include <optional>
#include <vector>

#include "kernels/conv_cudnn.h"
#include "kernels/error.h"
#include "kernels/modulated_conv_sm90.h"
#include "kernels/packed_weights.h"
#include "kernels/provider_cuda.h"
#include "kernels/provider_numerics.h"
#include "kernels/reduce.h"

namespace firn::kernels {

namespace {

constexpr int kKernelVersion = 2;  // a new one makes choices that were measured with an old kernel void

std::optional<ModulatedConvProblem> for_our_kernel(const ConvProblem& p, const ConvEpilogue& e) {
  if (p.type != DType::bf16 || p.swapped || p.stride != 1 || p.KH != p.KW || p.OH != p.H || p.OW != p.W ||
      p.pad_y != p.KH / 2 || p.pad_x != p.KW / 2)
    return {};
  const ModulatedConvProblem q{.N = p.N,
                               .H = p.H,
                               .W = p.W,
                               .I = p.I,
                               .O = p.O,
                               .K = p.KH,
                               .noise_images = e.noise_images,
                               .slope = static_cast<float>(e.slope),
                               .gain = static_cast<float>(e.gain),
                               .clamp = static_cast<float>(e.clamp)};
  return fits(q) ? std::optional(q) : std::nullopt;
}

std::string describe(const ConvProblem& p, const ConvEpilogue& e, bool scaled) {
  return fmt::format("styled_conv N{} {}x{}x{} -> {} k{}{}{}{}{} slope {} clamp {}", p.N, p.H, p.W, p.I, p.O, p.KH,
                     scaled ? " s" : "", e.d ? " d" : "", e.noise ? " noise" : "", e.b ? " b" : "", e.slope,
                     e.clamp >= 0);
}

}  // namespace

bool has_styled_conv(const Stream& stream, const ConvProblem& p) {
  return stream.is_cuda && p.type == DType::bf16 && !p.swapped && p.N > 0 &&
         (numerics().libraries || for_our_kernel(p, {}));
}

void styled_conv(const Stream& stream, const ConvProblem& p, const ConvEpilogue& e, void* y, const void* x,
                 const void* s, const void* w, WeightCache& cache) {
  const auto in_steps = [&] {
    const Scratch scaled(stream, s ? size_of(p.type) * static_cast<size_t>(p.N * p.H * p.W * p.I) : 0);
    if (s)
      run(stream, ScaleChannels<bf16>{static_cast<bf16*>(scaled.data()), static_cast<const bf16*>(x),
                                      static_cast<const float*>(s), p.N, p.H * p.W, p.I});
    conv_bias_act(stream, p, e, y, s ? scaled.data() : x, w, cache);
  };
  const std::optional<ModulatedConvProblem> ours = for_our_kernel(p, e);
  if (!ours) return in_steps();
  const std::shared_ptr<void> packed = packed_weights(stream, p, w, cache);
  const auto numbers = [](const void* q) { return static_cast<const float*>(q); };
  const ModulatedConvOperands operands{.y = static_cast<bf16*>(y),
                                       .x = static_cast<const bf16*>(x),
                                       .w = static_cast<const bf16*>(packed.get()),
                                       .s = numbers(s),
                                       .d = numbers(e.d),
                                       .noise = numbers(e.noise),
                                       .strength = numbers(e.strength),
                                       .b = numbers(e.b)};
  enum Way { one, sm90, steps };
  const auto go = [&](Way way) {
    if (way == steps) return in_steps();
    if (way == sm90) return modulated_conv_sm90(stream, *ours, operands);
    modulated_conv(stream, *ours, operands);
  };
  if (!numerics().libraries) return go(one);
  static std::map<std::pair<int, std::string>, Way> settled;
  const std::string what = describe(p, e, s != nullptr);
  const auto place = std::pair(current_device(), what);
  if (const auto known = settled.find(place); known != settled.end()) return go(known->second);
  // What is likely faster comes first: it runs where nothing may be measured. Libraries do plain convolutions well.
  const std::array<Way, 3> order = s ? std::array{one, sm90, steps} : std::array{steps, one, sm90};
  std::vector<Candidate> candidates;
  for (const Way way : order)
    candidates.push_back({std::array{"tensor cores", "tensor cores of sm_90a", "in steps"}[way],
                          [&, way] { return way != sm90 || (fits_sm90(*ours) && has_modulated_conv_sm90()); },
                          [&, way] { go(way); }});
  const std::string key = fmt::format("{} | {} | cudnn {} | kernel {}", what, device_name(current_device()),
                                      cudnn::version(), kKernelVersion);
  const auto chosen = choose(choice_cache(), key, candidates, timer(stream)).value();
  if (chosen.settled) settled[place] = order[chosen.index];
  go(order[chosen.index]);
}

}  // namespace firn::kernels

#else

namespace firn::kernels {

bool has_styled_conv(const Stream&, const ConvProblem&) { return false; }

void styled_conv(const Stream&, const ConvProblem&, const ConvEpilogue&, void*, const void*, const void*, const void*,
                 WeightCache&) {
  throw_without_cuda("styled_conv");
}

}  // namespace firn::kernels

#endif
