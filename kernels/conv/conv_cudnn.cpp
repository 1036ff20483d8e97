// A plan is made, or restored, at the first call of a shape. Weights that must be rounded, scaled or turned are packed
// once and kept until they change; while a stream is captured each call packs its own, because a graph that is replayed
// must see the weights of that moment. Like all launches, calls come from one thread.
#include "kernels/conv/conv_cudnn.h"

#include <algorithm>
#include <deque>

#include "kernels/choice/cudnn_planner.h"
#include "kernels/choice/provider_cuda.h"
#include "kernels/choice/provider_numerics.h"
#include "kernels/conv/cudnn_conv_graph.h"
#include "kernels/conv/packed_weights.h"
#include "kernels/conv/weight_cache.h"
#include "kernels/core/cuda_check.h"

namespace firn::kernels::cudnn {

namespace {

using Operands = std::vector<std::pair<Value, void*>>;

cudnnHandle_t handle(const Stream& stream) {
  static std::map<int, cudnnHandle_t> handles;  // never destroyed: the driver may be gone before static objects
  const cudaStream_t own = current(stream);
  cudnnHandle_t& h = handles[stream.device];
  if (!h) check(cudnnCreate(&h));
  check(cudnnSetStream(h, own));
  return h;
}

void execute(const Stream& stream, const Plan& plan, const Operands& operands) {
  const Scratch workspace(stream, plan.workspace());
  plan.execute(handle(stream), operands, workspace.data());
}

// What runs an operation of one shape: a plan, or what the caller does instead. Plans that were captured must stay.
struct Known {
  ConvGraph graph;
  std::deque<Plan> plans;
  const Plan* plan = nullptr;
  bool seen = false, settled = false;  // settled: a later call has nothing to decide
};

struct Call {
  const Stream& stream;
  std::string name;  // with the shape
  DType type;
  std::function<ConvGraph()> make;
  std::function<Operands(const ConvGraph&)> bind;  // the operands of this call
  std::function<void()> instead = {};              // does the same without a plan,
  int64_t count = 0;                               // and gives this many numbers `small`
};

std::string describe(const Stream& stream, const char* name, const ConvProblem& p, bool packed) {
  return fmt::format("{} {} N{} {}x{}x{} -> {}x{}x{} k{}x{} stride {} pad {},{}{} gain {}{}", name, name_of(p.type),
                     p.N, p.H, p.W, p.I, p.OH, p.OW, p.O, p.KH, p.KW, p.stride, p.pad_y, p.pad_x,
                     p.groups > 1 ? fmt::format(" groups {}", p.groups) : "", packed ? 1 : p.gain,
                     p.type == DType::f32 && numerics(stream).tf32 ? " tf32" : "");
}

Operation operation(const Call& c, const ConvGraph& graph) {
  return {c.name, c.type, numerics(c.stream).tf32, std::make_shared<const Graph>(graph.graph)};
}

// Sets the plan of `known`, or none: what the caller does instead, if anything, is better, or no plan is acceptable.
void decide(const Call& c, const Operands& operands, Known& known) {
  known.seen = true;
  const Timer stopwatch = timer(c.stream);
  const Operation asked = operation(c, known.graph);
  const std::string key = key_of(asked, device_name(c.stream));
  std::optional<Proposals> proposals;
  std::vector<Candidate> candidates;
  // Compiling is no work for a stream that is being captured.
  std::optional<Scratch> expected;  // what `instead` gives
  const bool compares = c.instead && stopwatch && c.type == DType::bf16;
  const std::string remembered = compares ? choice_cache().find(key).value_or(Choice{}).name : "";
  const auto agrees_with_it = [&](const Candidate& way) {
    if (!compares || (way.name == remembered && !stopwatch.deterministic)) return true;
    void* const y = std::ranges::find(operands, known.graph.small, &Operands::value_type::first)->second;
    const size_t bytes = sizeof(bf16) * static_cast<size_t>(c.count);
    if (!expected) {
      run_named(choice_cache(), key, candidates.back(), stopwatch, [&] { stopwatch.once(c.instead); });
      expected.emplace(c.stream, bytes);
      check(cudaMemcpyAsync(expected->data(), y, bytes, cudaMemcpyDeviceToDevice, current(c.stream)));
    }
    return agrees(c.stream, c.name, way, static_cast<bf16*>(y), c.count, expected->data());
  };
  if (!c.instead || stopwatch) {
    proposals.emplace(asked, Target::device(handle(c.stream)), key);
    for (size_t i = 0; i < proposals->size(); ++i)
      candidates.push_back({proposals->name(i),
                            [&, i] { return proposals->prepare(i) && agrees_with_it(candidates[i]); },
                            [&, i] { execute(c.stream, proposals->plan(i), operands); }});
  }
  if (c.instead)
    candidates.push_back({.name = "two passes", .prepare = [] { return true; }, .run = c.instead, .last_resort = true});
  const std::optional<Chosen> chosen = choose(choice_cache(), key, candidates, stopwatch);
  if (proposals && stopwatch && !proposals->stored()) proposals->prepare_all();
  if (proposals) proposals->store(true);
  const bool planned = chosen && proposals && chosen->index < proposals->size();
  known.plan = planned ? &known.plans.emplace_back(proposals->take(chosen->index)) : nullptr;
  known.settled = stopwatch && (!chosen || chosen->settled);
}

// Runs the operation by a plan; false if it has none.
bool run_planned(Call c) {
  if (c.stream.dry) {
    note(operation(c, c.make()));
    if (c.instead) c.instead();
    return true;
  }
  static std::map<std::pair<int, std::string>, Known> all;
  const auto find = [&](int64_t alignment) {
    if (alignment != kUsualAlignment) c.name += fmt::format(" aligned to {}", alignment);
    const auto [place, fresh] = all.try_emplace({c.stream.device, c.name});
    if (fresh) place->second.graph = c.make();
    if (fresh) place->second.graph.graph.align(alignment);
    return &place->second;
  };
  Known* known = find(kUsualAlignment);
  if (known->settled && !known->plan) return false;
  const Operands operands = c.bind(known->graph);
  if (const int64_t alignment = common_alignment(kUsualAlignment, operands, &Operands::value_type::second);
      alignment != kUsualAlignment)
    known = find(alignment);
  if (!known->settled && (!known->seen || !is_capturing(c.stream))) decide(c, operands, *known);
  if (!known->plan) return false;
  execute(c.stream, *known->plan, operands);
  return true;
}

bool needs_packing(const ConvProblem& p) { return p.swapped || p.type != DType::f32; }

std::shared_ptr<void> weights(const Stream& stream, const ConvProblem& p, const void* w, WeightCache& cache) {
  if (needs_packing(p)) return cache.packed(stream, p, w);
  return std::shared_ptr<void>(const_cast<void*>(w), [](void*) {});
}

bool conv_with_weights(const Stream& stream, const ConvProblem& p, Pass pass, void* small, void* big, const void* w,
                       WeightCache& cache) {
  const bool packed = needs_packing(p);
  const std::shared_ptr<void> ready = weights(stream, p, w, cache);
  return run_planned({stream,
                      describe(stream, pass == Pass::forward ? "conv_forward" : "conv_backward_data", p, packed),
                      p.type, [&] { return conv_graph(p, pass, packed); },
                      [&](const ConvGraph& g) {
                        return Operands{{g.big, big}, {g.small, small}, {g.weights, ready.get()}};
                      }});
}

}  // namespace

std::string description(const Stream& stream) { return Target::description(handle(stream)); }

bool conv_forward(const Stream& stream, const ConvProblem& p, void* small, const void* big, const void* w,
                  WeightCache& cache) {
  return conv_with_weights(stream, p, Pass::forward, small, const_cast<void*>(big), w, cache);
}

bool conv_backward_data(const Stream& stream, const ConvProblem& p, void* big, const void* small, const void* w,
                        WeightCache& cache) {
  return conv_with_weights(stream, p, Pass::data, const_cast<void*>(small), big, w, cache);
}

bool conv_backward_weights(const Stream& stream, const ConvProblem& p, void* dw, const void* big, const void* small) {
  const auto count = static_cast<size_t>(p.weights());
  const auto planned = [&](const char* name, Pass pass, void* result) {
    return run_planned(
        {stream, describe(stream, name, p, false), p.type, [&] { return conv_graph(p, pass, false); },
         [&](const ConvGraph& g) {
           return Operands{{g.big, const_cast<void*>(big)}, {g.small, const_cast<void*>(small)}, {g.weights, result}};
         }});
  };
  // dw is of the stored order: [O,KH,KW,I/groups], or [I,KH,KW,O/groups].
  const auto unpack = [&]<class T>(const T* from, double gain) {
    const int64_t I = p.group_inputs(), O = p.group_outputs();
    repack_weights(stream, p, static_cast<float*>(dw), from, p.swapped ? I : O, p.swapped ? O : I, gain);
  };
  if (!p.swapped) {
    if (planned("conv_backward_weights", Pass::weights, dw)) return true;
  } else {
    const Scratch turned(stream, sizeof(float) * count);
    if (planned("conv_backward_weights", Pass::weights, turned.data())) {
      unpack(static_cast<const float*>(turned.data()), 1);
      return true;
    }
  }
  if (p.type != DType::bf16) return false;
  const Scratch rounded(stream, sizeof(bf16) * count);
  if (!planned("conv_backward_weights rounded", Pass::weights_rounded, rounded.data())) return false;
  unpack(static_cast<const bf16*>(rounded.data()), p.gain);
  return true;
}

void conv_bias_act(const Stream& stream, const ConvProblem& p, const Epilogue<>& e, void* small, const void* big,
                   const void* w, WeightCache& cache, const std::function<void()>& in_two_passes) {
  const std::string operation =
      fmt::format("{} then{} slope {} gain {} clamp {}{}", describe(stream, "conv_bias_act", p, true), e.b ? " b" : "",
                  e.slope, e.gain, e.clamp, e.addend ? " and a sum" : "");
  std::shared_ptr<void> ready;
  const bool fused =
      run_planned({stream, operation, p.type, [&] { return conv_bias_act_graph(p, e); },
                   [&](const ConvGraph& g) {
                     ready = cache.packed(stream, p, w);
                     Operands operands{{g.big, const_cast<void*>(big)}, {g.small, small}, {g.weights, ready.get()}};
                     for (const auto& [value, data] : {std::pair(g.b, e.b), std::pair(g.addend, e.addend)})
                       if (value) operands.emplace_back(value, const_cast<void*>(data));
                     return operands;
                   },
                   in_two_passes, p.N * p.OH * p.OW * p.O});
  if (!fused) in_two_passes();
}

}  // namespace firn::kernels::cudnn
