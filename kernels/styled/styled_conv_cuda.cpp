// Candidates: our tensor-core kernels; or scaling, then a convolution whose epilogue may be fused. Measured once a
// shape.
#include "kernels/styled/styled_conv_cuda.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/error.h"
#include "kernels/choice/provider_cuda.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/conv/weight_cache.h"
#include "kernels/ops/reduce.h"
#include "kernels/styled/conv_down.h"
#include "kernels/styled/modulated_conv_sm90.h"

namespace firn::kernels::cuda {

namespace {

// From I to O channels, with y of H x W.
ModulatedConvProblem modulated(const ConvProblem& p, int64_t H, int64_t W, int64_t I, int64_t O) {
  return {.N = p.N, .H = H, .W = W, .I = I, .O = O, .K = p.KH};
}

ModulatedConvOperands operands(const Epilogue<>& e, void* y, const void* x, const void* s, const void* packed) {
  return {.y = static_cast<bf16*>(y),
          .x = static_cast<const bf16*>(x),
          .w = static_cast<const bf16*>(packed),
          .s = static_cast<const float*>(s),
          .then = e.as<float>()};
}

std::optional<ModulatedConvProblem> for_our_kernel(const ConvProblem& p) {
  if (p.type != DType::bf16 || p.groups != 1 || p.swapped || p.stride != 1 || p.KH != p.KW || p.OH != p.H ||
      p.OW != p.W || p.pad_y != p.KH / 2 || p.pad_x != p.KW / 2)
    return {};
  const ModulatedConvProblem q = modulated(p, p.H, p.W, p.I, p.O);
  return fits(q) ? std::optional(q) : std::nullopt;
}

// Whether it is one of 3x3 and stride 2 between OH x OW and 2 OH + 1 x 2 OW + 1, large enough to fill tiles.
bool resamples(const Stream& stream, const ConvProblem& p) {
  constexpr int64_t least = 256;  // pixels
  return p.type == DType::bf16 && p.groups == 1 && p.stride == 2 && p.KH == 3 && p.KW == 3 && p.pad_y == 0 &&
         p.pad_x == 0 && p.H == 2 * p.OH + 1 && p.W == 2 * p.OW + 1 &&
         (p.OH * p.OW >= least || !numerics(stream).libraries);
}
constexpr const char *kOne = ModulatedConv<128, 128, Scales::none>::name,
                     *kSm90 = ModulatedConvSm90<256, Scales::none>::name;
bool may_use(const Stream& stream, const char* kernel) {
  return !numerics(stream).libraries || !numerics(stream).without.contains(kernel);
}
ModulatedConvProblem up(const ConvProblem& p) { return modulated(p, 2 * p.OH, 2 * p.OW, p.O, p.I); }
ModulatedConvProblem down(const ConvProblem& p) { return modulated(p, p.OH, p.OW, p.I, p.O); }

constexpr int kKernelVersion = 5;  // a new one makes choices that were measured with old kernels void
std::string versioned(const char* kernel) { return fmt::format("{} {}", kernel, kKernelVersion); }

std::string describe(const char* name, const ConvProblem& p, const Epilogue<>& e, bool scaled) {
  return fmt::format("{} {} N{} {}x{}x{} -> {} k{}{}{}{}{} slope {} clamp {}{}", name, kKernelVersion, p.N, p.H, p.W,
                     p.I, p.O, p.KH, scaled ? " s" : "", e.d ? " d" : "", e.noise ? " noise" : "", e.b ? " b" : "",
                     e.slope, e.clamp >= 0, e.addend ? " addend" : "");
}

// launch(packed) computes y in one kernel. Weights are packed for a rehearsal by themselves: what `cache` once has, the
// optimiser keeps current for good.
bool run_if_fastest(const Stream& stream, const char* kernel, const std::string& what, void* y, int64_t count,
                    const ConvProblem& p, const void* w, WeightCache& cache,
                    const std::function<void(const void* packed)>& launch, const InSteps& in_steps) {
  std::shared_ptr<void> packed;
  const auto rehearse = [&] {
    WeightCache apart;
    if (!packed) packed = apart.packed(stream, p, w);
    launch(packed.get());
  };
  const auto always = [] { return true; };
  const std::array ways{Candidate{"one kernel", always, rehearse, versioned(kernel)},
                        Candidate{"in steps", always, in_steps}};
  if (numerics(stream).libraries && fastest(stream, what, {ways, 1, static_cast<bf16*>(y), count, in_steps}) != 0)
    return false;
  launch(cache.packed(stream, p, w).get());
  return true;
}

}  // namespace

bool has_styled_conv(const Stream& stream, const ConvProblem& p) {
  return stream.is_cuda && p.type == DType::bf16 && !p.swapped && p.N > 0 &&
         (numerics(stream).libraries || for_our_kernel(p));
}

void styled_conv(const Stream& stream, const ConvProblem& p, const Epilogue<>& e, void* y, const void* x, const void* s,
                 const void* w, WeightCache& cache) {
  const auto in_steps = [&](void* to) {
    const Scratch scaled(stream, s ? size_of(p.type) * static_cast<size_t>(p.N * p.H * p.W * p.I) : 0);
    if (s)
      run(stream, ScaleChannels<bf16>{static_cast<bf16*>(scaled.data()), static_cast<const bf16*>(x),
                                      static_cast<const float*>(s), p.N, p.H * p.W, p.I});
    conv_bias_act(stream, p, e, to, s ? scaled.data() : x, w, cache);
  };
  const std::optional<ModulatedConvProblem> ours = for_our_kernel(p);
  if (!ours || stream.dry) return in_steps(y);
  enum Way { one, sm90, steps };
  const auto possible = [&](Way way) {
    if (way == one) return may_use(stream, kOne);
    return way == steps || (may_use(stream, kSm90) && fits_sm90(*ours) && has_modulated_conv_sm90(stream));
  };
  // What is likely faster comes first: it runs where nothing may be measured. Libraries do plain convolutions well.
  std::vector<Way> order = s ? std::vector{one, sm90, steps} : std::vector{steps, one, sm90};
  std::erase_if(order, [&](Way way) { return !possible(way); });
  if (order.size() < 2) return in_steps(y);
  const std::shared_ptr<void> packed = cache.packed(stream, p, w);
  const ModulatedConvOperands a = operands(e, y, x, s, packed.get());
  const auto go = [&](Way way) {
    if (way == steps) return in_steps(y);
    if (way == sm90) return modulated_conv_sm90(stream, *ours, a);
    modulated_conv(stream, *ours, a);
  };
  if (!numerics(stream).libraries) return go(one);
  std::vector<Candidate> ways;
  for (const Way way : order)
    ways.push_back({std::array{"tensor cores", "tensor cores of sm_90a", "in steps"}[way], [] { return true; },
                    [&, way] { go(way); }, way == steps ? "" : versioned(way == one ? kOne : kSm90)});
  const int64_t count = p.N * p.H * p.W * p.O;
  const auto expected = [&] {
    const auto own = std::make_shared<Scratch>(stream, sizeof(bf16) * static_cast<size_t>(count));
    in_steps(own->data());
    return std::shared_ptr<const void>(own, own->data());
  };
  const size_t trusted = static_cast<size_t>(std::ranges::find(order, steps) - order.begin());
  std::string what = describe("styled_conv", p, e, s != nullptr);
  for (const char* kernel : {kOne, kSm90})  // what is chosen without it is no choice for those who have it
    if (!may_use(stream, kernel)) what += fmt::format(" without {}", kernel);
  go(order[fastest(stream, what, {ways, trusted, a.y, count, expected})]);
}

bool has_styled_conv_up(const Stream& stream, const ConvProblem& p) {
  return stream.is_cuda && may_use(stream, ModulatedConvUp<true>::name) && resamples(stream, p) && fits_up(up(p));
}

bool styled_conv_up(const Stream& stream, const ConvProblem& p, const Taps& f, const Epilogue<>& e, void* y,
                    const void* x, const void* s, const void* w, WeightCache& cache, const InSteps& in_steps) {
  ConvProblem turned = p;  // from small to big
  std::swap(turned.I, turned.O);
  turned.swapped = !p.swapped;
  return run_if_fastest(
      stream, ModulatedConvUp<true>::name, describe("styled_conv_up", p, e, s != nullptr), y,
      4 * p.N * p.OH * p.OW * p.I, turned, w, cache,
      [&](const void* packed) { modulated_conv_up(stream, up(p), f, operands(e, y, x, s, packed)); }, in_steps);
}

bool has_styled_conv_down(const Stream& stream, const ConvProblem& p) {
  return stream.is_cuda && may_use(stream, ConvDown::name) && resamples(stream, p) && fits_down(down(p));
}

bool styled_conv_down(const Stream& stream, const ConvProblem& p, const Taps& f, const Epilogue<>& e, void* y,
                      const void* x, const void* w, WeightCache& cache, const InSteps& in_steps) {
  return run_if_fastest(
      stream, ConvDown::name, describe("styled_conv_down", p, e, false), y, p.N * p.OH * p.OW * p.O, p, w, cache,
      [&](const void* packed) { conv_down(stream, down(p), f, operands(e, y, x, nullptr, packed)); }, in_steps);
}

}  // namespace firn::kernels::cuda
