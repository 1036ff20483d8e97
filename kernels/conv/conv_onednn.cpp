// Direct convolutions on NHWC, the layout that reaches AMX: no image is reordered, weights are packed once.
#include "kernels/conv/conv_onednn.h"

#include <mutex>
#include <tuple>

#include "base/error.h"
#include "kernels/conv/weight_cache.h"
#include "kernels/device/onednn.h"

namespace firn::kernels::onednn {

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

enum class Pass { forward, data, weights };

// What a forward pass does besides.
struct Relu {
  bool on = false, bias = false;
  double clamp = -1;
  auto operator<=>(const Relu&) const = default;
};

struct Plan {
  dnnl::primitive primitive;
  memory::desc big, small, weights, scratch;  // weights as the primitive wants them
  memory::desc user_weights;
  std::string cache_key;
  memory big_at(const void* data) const { return memory(big, engine(), const_cast<void*>(data)); }
  memory small_at(const void* data) const { return memory(small, engine(), const_cast<void*>(data)); }
};

// [O,I,KH,KW], behind the groups where there are several.
memory::dims weight_dims(const ConvProblem& p) {
  if (p.groups == 1) return {p.O, p.I, p.KH, p.KW};
  return {p.groups, p.group_outputs(), p.group_inputs(), p.KH, p.KW};
}

memory::desc stored_weights(const ConvProblem& p) {
  const int64_t row = p.KW, taps = p.KH * row, I = p.group_inputs(), O = p.group_outputs();
  memory::dims strides = p.swapped ? memory::dims{1, taps * O, row * O, O} : memory::dims{taps * I, 1, row * I, I};
  if (p.groups > 1) strides.insert(strides.begin(), O * taps * I);
  return memory::desc(weight_dims(p), memory::data_type::f32, strides);
}

Plan make_plan(const ConvProblem& p, Pass pass, const Relu& relu) {
  constexpr auto algorithm = dnnl::algorithm::convolution_direct;
  const auto type = data_type(p.type);
  const memory::desc big({p.N, p.I, p.H, p.W}, type, Tag::nhwc), small({p.N, p.O, p.OH, p.OW}, type, Tag::nhwc);
  Plan plan{.big = big, .small = small, .user_weights = stored_weights(p)};
  const memory::dims kernel = weight_dims(p), strides{p.stride, p.stride}, before{p.pad_y, p.pad_x};
  const memory::dims behind{(p.OH - 1) * p.stride + p.KH - p.pad_y - p.H, (p.OW - 1) * p.stride + p.KW - p.pad_x - p.W};
  auto attr = user_scratchpad();
  if (relu.on) attr.set_post_ops(clipped(relu.clamp));
  const auto use = relu.on ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training;

  const memory::desc weights(kernel, type, Tag::any);
  const memory::desc bias = relu.bias ? memory::desc({p.O}, memory::data_type::f32, Tag::x) : memory::desc();
  const auto forward =
      describe<dnnl::convolution_forward>(attr, use, algorithm, big, weights, bias, small, strides, before, behind);
  if (pass == Pass::forward) {
    plan.primitive = dnnl::convolution_forward(forward);
    plan.weights = forward.weights_desc();
    plan.scratch = forward.scratchpad_desc();
  } else if (pass == Pass::data) {
    const auto d = describe_backward<dnnl::convolution_backward_data>(attr, forward, algorithm, big, weights, small,
                                                                      strides, before, behind);
    plan.primitive = dnnl::convolution_backward_data(d);
    plan.weights = d.weights_desc();
    plan.scratch = d.scratchpad_desc();
  } else {
    const memory::desc wide(kernel, memory::data_type::f32, Tag::any);
    const auto w = describe_backward<dnnl::convolution_backward_weights>(attr, forward, algorithm, big, wide, small,
                                                                         strides, before, behind);
    plan.primitive = dnnl::convolution_backward_weights(w);
    plan.weights = w.diff_weights_desc();
    plan.scratch = w.scratchpad_desc();
  }
  // Packed weights may serve several shapes: they differ by layout, order and gain only.
  plan.cache_key = bytes_of(plan.weights) + fmt::format("{}{}", p.swapped, p.gain);
  return plan;
}

const Plan& plan_for(const ConvProblem& p, Pass pass, Relu relu = {}) {
  using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int, int, int, int, int, bool,
                         double, DType, Pass, int, Relu>;
  static std::map<Key, Plan> plans;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  const Key key{p.N,      p.H,     p.W,     p.I,       p.OH,   p.OW,   p.O,  p.KH,     p.KW,
                p.stride, p.pad_y, p.pad_x, p.swapped, p.gain, p.type, pass, p.groups, relu};
  if (auto it = plans.find(key); it != plans.end()) return it->second;
  return plans.emplace(key, make_plan(p, pass, relu)).first->second;
}

void reorder(const memory::desc& from_md, const void* from, const memory::desc& to_md, void* to, double gain = 1) {
  dnnl::primitive_attr attr;
  const Scale scale(gain);
  scale.set(attr);
  const memory source(from_md, engine(), const_cast<void*>(from)), target(to_md, engine(), to);
  Arguments arguments{{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, target}};
  scale.pass(arguments);
  require_room_once();
  dnnl::reorder(dnnl::reorder::primitive_desc(source, target, attr)).execute(stream(), arguments);
}

std::shared_ptr<void> packed_weights(const Plan& plan, const ConvProblem& p, const void* w, WeightCache& cache) {
  return cache.entry(plan.cache_key, [&] {
    const auto packed = std::make_shared<Buffer>(plan.weights);
    reorder(plan.user_weights, w, plan.weights, packed->data(), p.gain);
    return std::shared_ptr<void>(packed, packed->data());
  });
}

// dnnl reports failures with its own exception; what reaches a user is ours.
template <class F>
void guarded(const char* what, const ConvProblem& p, F&& f) {
  try {
    f();
  } catch (const dnnl::error& e) {
    throw DeviceError(fmt::format("{}: oneDNN cannot run N{} {}x{}x{} -> {}x{}x{} K{}x{} stride {} groups {}: {}", what,
                                  p.N, p.H, p.W, p.I, p.OH, p.OW, p.O, p.KH, p.KW, p.stride, p.groups, e.message));
  }
}

}  // namespace

namespace {

void forward(const ConvProblem& p, const Relu& relu, void* small, const void* big, const void* w, const void* b,
             WeightCache& cache) {
  const Plan& plan = plan_for(p, Pass::forward, relu);
  const Buffer scratch(plan.scratch);
  Arguments arguments{{DNNL_ARG_SRC, plan.big_at(big)},
                      {DNNL_ARG_WEIGHTS, memory(plan.weights, engine(), packed_weights(plan, p, w, cache).get())},
                      {DNNL_ARG_DST, plan.small_at(small)},
                      {DNNL_ARG_SCRATCHPAD, memory(plan.scratch, engine(), scratch.data())}};
  if (b)
    arguments.emplace(DNNL_ARG_BIAS, memory({{p.O}, memory::data_type::f32, Tag::x}, engine(), const_cast<void*>(b)));
  plan.primitive.execute(stream(), arguments);
}

}  // namespace

void conv_forward(const ConvProblem& p, void* small, const void* big, const void* w, WeightCache& cache) {
  guarded("conv_forward", p, [&] { forward(p, {}, small, big, w, nullptr, cache); });
}

bool has_conv_relu(const ConvProblem& p, const Epilogue<>& e) {
  return !p.swapped && e.slope == 0 && e.gain == 1 && !e.d && !e.noise && !e.addend;
}

void conv_relu(const ConvProblem& p, const Epilogue<>& e, void* small, const void* big, const void* w,
               WeightCache& cache) {
  guarded("conv_relu", p,
          [&] { forward(p, {.on = true, .bias = e.b != nullptr, .clamp = e.clamp}, small, big, w, e.b, cache); });
}

void conv_backward_data(const ConvProblem& p, void* big, const void* small, const void* w, WeightCache& cache) {
  guarded("conv_backward_data", p, [&] {
    const Plan& plan = plan_for(p, Pass::data);
    const Buffer scratch(plan.scratch);
    plan.primitive.execute(stream(),
                           {{DNNL_ARG_DIFF_DST, plan.small_at(small)},
                            {DNNL_ARG_WEIGHTS, memory(plan.weights, engine(), packed_weights(plan, p, w, cache).get())},
                            {DNNL_ARG_DIFF_SRC, plan.big_at(big)},
                            {DNNL_ARG_SCRATCHPAD, memory(plan.scratch, engine(), scratch.data())}});
  });
}

void conv_backward_weights(const ConvProblem& p, void* dw, const void* big, const void* small) {
  guarded("conv_backward_weights", p, [&] {
    const Plan& plan = plan_for(p, Pass::weights);
    const Buffer scratch(plan.scratch), packed(plan.weights);
    plan.primitive.execute(stream(), {{DNNL_ARG_SRC, plan.big_at(big)},
                                      {DNNL_ARG_DIFF_DST, plan.small_at(small)},
                                      {DNNL_ARG_DIFF_WEIGHTS, memory(plan.weights, engine(), packed.data())},
                                      {DNNL_ARG_SCRATCHPAD, memory(plan.scratch, engine(), scratch.data())}});
    reorder(plan.weights, packed.data(), plan.user_weights, dw, p.gain);
  });
}

}  // namespace firn::kernels::onednn
