#include "kernels/cudnn_planner.h"

#include <algorithm>

namespace firn::kernels::cudnn {

namespace {

// How many of cuDNN's proposals are tried. Those that are generated cost a compilation each.
constexpr int kMostPrecompiled = 6, kMostCompiled = 2;

std::vector<Config> proposed(const Operation& o, const Target& target) {
  // The kernels that keep f32 exact come late in cuDNN's list.
  std::vector<Config> all = configs(*o.graph, target, o.type == DType::f32 ? 16 : 8);
  int precompiled = 0, compiled = 0;
  std::erase_if(all, [&](const Config& c) {
    if (!acceptable(c, o.type, o.tf32)) return true;
    return c.compiled_at_run_time ? ++compiled > kMostCompiled : ++precompiled > kMostPrecompiled;
  });
  return all;
}

}  // namespace

std::string key_of(const std::string& operation, const std::string& gpu) {
  return fmt::format("{} | {} | cudnn {}", operation, gpu, cudnnGetVersion());
}

bool acceptable(const Config& c, DType type, bool tf32) {
  if (!c.deterministic || !c.full_precision_sums) return false;
  return type == DType::bf16 || tf32 || (!c.tensor_cores && c.exact_inputs);
}

Proposals::Proposals(Operation operation, Target target, std::string key, From from)
    : operation_(std::move(operation)), target_(std::move(target)), key_(std::move(key)) {
  if (from == From::store) known_ = plan_store().find(key_);
  stored_ = known_.proposals.has_value();
  if (stored_)
    for (const std::string& name : *known_.proposals) all_.push_back({.name = name});
  else
    for (Config& c : proposed(operation_, target_)) {
      std::string name = c.name;
      all_.push_back({.name = std::move(name), .config = std::move(c)});
    }
}

bool Proposals::prepare(size_t i) {
  Proposal& p = all_[i];
  if (std::exchange(p.tried, true)) return p.plan.has_value();
  if (const auto made = known_.plans.find(p.name); made != known_.plans.end()) {
    try {
      p.plan.emplace(made->second, operation_.graph, target_);
    } catch (const DeviceError&) {  // of another driver, say
    }
  }
  if (!p.plan && p.config) {
    try {
      p.plan.emplace(*p.config, target_);
      p.made = p.plan->serialised();
    } catch (const DeviceError&) {  // not here; or not to be stored
    }
  }
  if (p.plan && p.plan->workspace() > kWorkspaceBound) p.plan.reset();
  return p.plan.has_value();
}

bool Proposals::prepare_all() {
  bool any = false;
  for (size_t i = 0; i < size(); ++i) any |= prepare(i);
  return any;
}

void Proposals::store(bool own) const {
  if (stored_) return;
  StoredPlans found;
  for (const Proposal& p : all_)
    if (!p.made.empty()) found.plans[p.name] = p.made;
  if (own && std::ranges::all_of(all_, &Proposal::tried)) {
    found.proposals.emplace();
    for (const Proposal& p : all_)
      if (p.plan) found.proposals->push_back(p.name);
  }
  if (!found.plans.empty() || found.proposals) plan_store().add(key_, found);
}

}  // namespace firn::kernels::cudnn
