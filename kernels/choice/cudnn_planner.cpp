#include "kernels/choice/cudnn_planner.h"

#include <algorithm>
#include <mutex>

#include "base/hash.h"

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

// What restore_ahead() has done, by key.
struct Ready {
  StoredPlans stored;
  std::string name;
  std::optional<Plan> plan;
};
std::mutex ready_mutex;
std::map<std::string, Ready>& ready() {
  static auto* const all = new std::map<std::string, Ready>;  // the driver may be gone before static objects
  return *all;
}

}  // namespace

void restore_ahead(const Operation& operation, const Target& target, const std::string& key,
                   const std::optional<std::string>& name) {
  Ready r{.stored = plan_store().find(key)};
  if (name)
    r.name = *name;
  else if (r.stored.proposals && !r.stored.proposals->empty())
    r.name = r.stored.proposals->front();
  if (const auto text = r.stored.plans.find(r.name); text != r.stored.plans.end()) {
    try {
      r.plan.emplace(text->second, operation.graph, target);
    } catch (const DeviceError&) {  // made anew when it is asked for
    }
  }
  const std::lock_guard lock(ready_mutex);
  ready().insert_or_assign(key, std::move(r));
}

std::string key_of(const Operation& o, const std::string& gpu) {
  return fmt::format("{} | {} | cudnn {} | graph {:016x}", o.name, gpu, cudnnGetVersion(), hash_of(o.graph->text()));
}

bool acceptable(const Config& c, DType type, bool tf32) {
  if (!c.deterministic || !c.full_precision_sums) return false;
  return type == DType::bf16 || tf32 || (!c.tensor_cores && c.exact_inputs);
}

Proposals::Proposals(Operation operation, Target target, std::string key)
    : operation_(std::move(operation)), target_(std::move(target)), key_(std::move(key)) {
  std::optional<Ready> restored;
  {
    const std::lock_guard lock(ready_mutex);
    if (auto found = ready().extract(key_)) restored = std::move(found.mapped());
  }
  known_ = restored ? std::move(restored->stored) : plan_store().find(key_);
  stored_ = known_.proposals.has_value();
  if (stored_)
    for (const std::string& name : *known_.proposals) all_.push_back({.name = name});
  else
    for (Config& c : proposed(operation_, target_)) {
      std::string name = c.name;
      all_.push_back({.name = std::move(name), .config = std::move(c)});
    }
  if (restored && restored->plan)
    for (Proposal& p : all_)
      if (p.name == restored->name) p.plan = std::move(restored->plan);
}

void Proposals::ask() {
  if (std::exchange(asked_, true)) return;
  for (Config& c : proposed(operation_, target_))
    if (const auto p = std::ranges::find(all_, c.name, &Proposal::name); p != all_.end()) p->config = std::move(c);
}

bool Proposals::prepare(size_t i) {
  Proposal& p = all_[i];
  if (std::exchange(p.tried, true)) return p.plan.has_value();
  if (const auto made = known_.plans.find(p.name); !p.plan && made != known_.plans.end()) {
    try {
      p.plan.emplace(made->second, operation_.graph, target_);
    } catch (const DeviceLost&) {
      throw;
    } catch (const DeviceError&) {  // of another driver, say
    }
  }
  if (!p.plan && stored_) ask();
  if (!p.plan && p.config) {
    try {
      p.plan.emplace(*p.config, target_);
      p.made = p.plan->serialised();
    } catch (const DeviceLost&) {
      throw;
    } catch (const OutOfMemory&) {
      p.tried = false;  // it may be there another time
      throw;
    } catch (const DeviceError&) {  // not here; or not to be stored
    }
  }
  if (p.plan && p.plan->workspace() > kWorkspaceBound) p.plan.reset();
  return p.plan.has_value();
}

bool Proposals::prepare_all() {
  bool any = false;
  for (size_t i = 0; i < size(); ++i) try {
      any |= prepare(i);
    } catch (const OutOfMemory&) {
    }
  return any;
}

bool Proposals::store(bool own) const {
  StoredPlans found;
  for (const Proposal& p : all_)
    if (!p.made.empty()) found.plans[p.name] = p.made;
  if (!stored_ && own && std::ranges::all_of(all_, &Proposal::tried)) {
    found.proposals.emplace();
    for (const Proposal& p : all_)
      if (p.plan) found.proposals->push_back(p.name);
  }
  return (found.plans.empty() && !found.proposals) || plan_store().add(key_, found);
}

}  // namespace firn::kernels::cudnn
