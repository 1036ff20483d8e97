#include "training/step/phase.h"

#include <algorithm>
#include <functional>
#include <list>
#include <optional>

#include "base/error.h"

namespace firn {
namespace {

// Each as soon as it is there. Zeros for parameters that the loss does not reach, whichever they are.
void gradients_of(const Tensor& loss, double weight, const std::vector<Tensor>& targets,
                  const std::function<void(size_t, Tensor)>& ready) {
  if (loss.wants_grad() && !targets.empty())
    grad(weight == 1 ? loss : loss * weight, targets, {.ready = ready});
  else
    for (size_t i = 0; i < targets.size(); ++i) ready(i, zero_gradient(targets[i]));
}

// running_values(), as they were.
class Running {
 public:
  explicit Running(const TrainState& state) : values_(running_values(state)) {
    for (const Tensor& t : values_) {
      before_.push_back(t.like());
      before_.back().copy_from(t);
    }
  }
  void restore() {
    for (size_t i = 0; i < values_.size(); ++i) values_[i].copy_from(before_[i]);
  }
  std::vector<Tensor> moves(double share) const {
    std::vector<Tensor> all;
    for (size_t i = 0; i < values_.size(); ++i) all.push_back((values_[i] - before_[i]) * share);
    return all;
  }
  void move(std::span<const Tensor> by) {
    for (size_t i = 0; i < values_.size(); ++i) values_[i].copy_from(before_[i] + by[i]);
  }

 private:
  std::vector<Tensor> values_, before_;
};

// The noise of a micro-batch: the same numbers of another stream, but for the first one.
Rng noise_of(const Rng& rng, int64_t micro_batch) {
  Rng own = rng;
  if (micro_batch > 0) own.seed = seed_for(rng.seed + uint64_t(micro_batch), SeedUse::training);
  return own;
}

int64_t parts(int64_t n, int64_t at_once) { return (n + at_once - 1) / at_once; }

void require_parts(const std::string& phase, int64_t parts, int processes) {
  if (parts >= processes) return;
  throw ConfigError(
      fmt::format("{} processes need as many parts of a batch, and phase {} has {}: give a smaller "
                  "--batch-gpu, a larger --batch or fewer processes",
                  processes, phase, parts));
}

}  // namespace

std::vector<Tensor> running_values(const TrainState& state) {
  std::vector<Tensor> values;
  for (const Role& role : state.roles)
    for (const Parameter& p : role.network->parameters().running()) values.push_back(p.value());
  for (const auto& [name, t] : state.scalars) values.push_back(t);
  return values;
}

void require_parts(const std::vector<Phase>& phases, int processes) {
  for (const Phase& phase : phases)
    if (phase.interval > 0)
      require_parts(phase.name, parts(phase.samples, std::max<int64_t>(1, phase.at_once)), processes);
}

Leaves rows_of(int64_t n, int64_t at_once, int rank, int ranks) {
  const Leaves own = share_of(parts(n, at_once), rank, ranks);
  return {own.first * at_once, std::min(own.last * at_once, n)};
}

bool Phase::due(int64_t iteration) const {
  return interval > 0 && iteration >= from && iteration < until && (iteration % interval == 0) != between;
}

double Phase::share() const {
  if (interval == 0) return 0;
  return between ? 1 - 1.0 / interval : 1.0 / interval;
}

void Inputs::put(const std::string& name, Tensor t) {
  if (!t.defined()) return;
  for (auto& [key, old] : tensors_)
    if (key == name) {
      old = std::move(t);
      return;
    }
  tensors_.emplace_back(name, std::move(t));
}

Tensor Inputs::operator[](const std::string& name) const {
  for (const auto& [key, t] : tensors_)
    if (key == name) return t;
  return {};
}

int64_t Inputs::size() const {
  int64_t n = 0;
  for (const auto& [name, t] : tensors_) {
    if (n > 0 && t.dim(0) != n)
      throw ShapeError(
          fmt::format("a batch has {} of {} and {} of {}; they share one batch", n, tensors_[0].first, t.dim(0), name));
    n = t.dim(0);
  }
  return n;
}

Inputs Inputs::slice(int64_t begin, int64_t end) const {
  if (begin == 0 && end == size()) return *this;
  Inputs part;
  for (const auto& [name, t] : tensors_) part.put(name, firn::slice(t, 0, begin, end));
  return part;
}

Tensor PhaseResult::operator[](std::string_view name) const {
  for (const Term& t : report)
    if (t.name == name) return t.value;
  return {};
}

PhaseResult run_phase(const Phase& phase, const TrainState& state, const Inputs& whole, Rng* rng,
                      Communicator& processes, Wire wire) {
  std::list<FrozenScope> only_passed_through;
  for (const Role& role : state.roles)
    if (role.name != phase.trains && !std::ranges::count(phase.beside, role.name))
      only_passed_through.emplace_back(role.network->parameters());
  Parameters trained = state.role(phase.trains).network->parameters().trainable();
  for (const std::string& name : phase.beside)
    for (const Parameter& p : state.role(name).network->parameters().trainable()) trained.add(p);
  const int64_t n = whole.size(), at_once = std::max<int64_t>(1, phase.at_once), micro_batches = parts(n, at_once);
  require_parts(phase.name, micro_batches, processes.size());
  std::optional<Running> running;
  if (micro_batches > 1) running.emplace(state);

  // Of a micro-batch, or the sum over several: gradients, then moves of what runs, then what is reported. Of the last
  // one here, where that completes a sum, each goes to the other processes as soon as it is there.
  const std::vector<Tensor> targets = trained.tensors();
  const Leaves own = share_of(micro_batches, processes.rank(), processes.size());
  const std::vector<Leaves> own_subtrees = subtrees(micro_batches, own);
  SumOverProcesses sum_of_all(processes, micro_batches);
  const bool completes = sum_of_all.one_subtree_each();
  const auto wire_of = [&](size_t number) { return number < targets.size() ? wire : Wire::as_is; };
  std::vector<std::vector<Tensor>*> first_halves;  // of the nodes in whose second half the present one is
  const auto arrive = [&](std::vector<Tensor>& list, bool last, size_t number, Tensor t) {
    const NoGrad no_grad;
    list.resize(std::max(list.size(), number + 1));
    if (!last) {
      list[number] = std::move(t);
      return;
    }
    for (auto half = first_halves.rbegin(); half != first_halves.rend(); ++half)
      t = std::exchange((**half)[number], {}) + t;
    std::vector<Tensor> one;
    one.push_back(std::move(t));
    sum_of_all.add(number, std::move(one), wire_of(number));
  };
  std::vector<Term> names;
  bool first = true;
  Rng last_noise;
  const auto run = [&](int64_t i) {
    const int64_t begin = i * at_once, end = std::min(begin + at_once, n);
    const double share = double(end - begin) / double(n);
    const bool last = completes && i + 1 == own.last;
    if (!std::exchange(first, false)) running->restore();
    std::optional<Rng> noise;
    if (rng) noise = noise_of(*rng, i);
    std::vector<Tensor> found;
    std::vector<Term> report;
    {
      Terms terms = phase.terms(whole.slice(begin, end), noise ? &*noise : nullptr);
      gradients_of(terms.total, share, targets, [&](size_t k, Tensor g) { arrive(found, last, k, std::move(g)); });
      report = std::move(terms.report);
      report.insert(report.begin(), {"loss", terms.stat, terms.total.detach()});
    }
    const NoGrad no_grad;
    size_t number = targets.size();
    if (running)
      for (Tensor& move : running->moves(share)) arrive(found, last, number++, std::move(move));
    for (Term& term : report) {
      const Tensor value = std::exchange(term.value, {}).detach();
      arrive(found, last, number++, share == 1 ? value : value * share);
    }
    names = std::move(report);
    if (noise) last_noise = *noise;
    return found;
  };
  const std::function<std::vector<Tensor>(Leaves)> sum = [&](Leaves node) {
    if (node.count() == 1) return run(node.first);
    std::vector<Tensor> low = sum({node.first, node.middle()});
    first_halves.push_back(&low);
    std::vector<Tensor> high = sum({node.middle(), node.last});
    first_halves.pop_back();
    const NoGrad no_grad;
    for (size_t i = 0; i < low.size(); ++i)
      if (low[i].defined()) low[i] = low[i] + std::exchange(high[i], {});
    return low;
  };
  std::vector<std::vector<Tensor>> sums;
  for (const Leaves node : own_subtrees) sums.push_back(sum(node));
  for (size_t i = 0; !completes && i < sums[0].size(); ++i) {
    std::vector<Tensor> of_subtrees;
    for (std::vector<Tensor>& list : sums) of_subtrees.push_back(std::move(list[i]));
    sum_of_all.add(i, std::move(of_subtrees), wire_of(i));
  }
  std::vector<Tensor> total = sum_of_all.finish();
  if (rng) rng->offset = last_noise.offset;

  PhaseResult result;
  const size_t gradients = targets.size(), terms = total.size() - names.size();
  const NoGrad no_grad;
  if (running) running->move({total.begin() + std::ptrdiff_t(gradients), total.begin() + std::ptrdiff_t(terms)});
  for (size_t i = 0; i < names.size(); ++i) {
    names[i].value = total[terms + i];
    result.report.push_back(std::move(names[i]));
  }
  total.resize(gradients);
  result.gradients = std::move(total);
  return result;
}

}  // namespace firn
