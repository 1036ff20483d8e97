#include "training/step/phase.h"

#include <algorithm>
#include <list>

#include "base/error.h"

namespace firn {
namespace {

// Zeros for parameters that the loss does not reach, whichever they are.
std::vector<Tensor> gradients_of(const Tensor& loss, double weight, const Parameters& parameters) {
  const std::vector<Tensor> targets = parameters.tensors();
  if (loss.wants_grad() && !targets.empty()) return grad(weight == 1 ? loss : loss * weight, targets);
  std::vector<Tensor> zeros;
  for (const Tensor& t : targets) zeros.push_back(zero_gradient(t));
  return zeros;
}

void add_to(std::vector<Tensor>& sums, std::vector<Tensor> terms) {
  if (sums.empty())
    sums = std::move(terms);
  else
    for (size_t i = 0; i < sums.size(); ++i) sums[i] = sums[i] + terms[i];
}

void add_to(std::vector<Term>& sums, const std::vector<Term>& terms, double share) {
  const bool first = sums.empty();
  for (size_t i = 0; i < terms.size(); ++i) {
    const Tensor value = terms[i].value.detach(), term = share == 1 ? value : value * share;
    if (first)
      sums.push_back({terms[i].name, terms[i].stat, term});
    else
      sums[i].value = sums[i].value + term;
  }
}

}  // namespace

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

PhaseResult run_phase(const Phase& phase, const TrainState& state, const Inputs& whole, Rng* rng) {
  std::list<FrozenScope> only_passed_through;
  for (const Role& role : state.roles)
    if (role.name != phase.trains && !std::ranges::count(phase.beside, role.name))
      only_passed_through.emplace_back(role.network->parameters());
  Parameters trained = state.role(phase.trains).network->parameters().trainable();
  for (const std::string& name : phase.beside)
    for (const Parameter& p : state.role(name).network->parameters().trainable()) trained.add(p);
  const int64_t n = whole.size(), at_once = std::max<int64_t>(1, phase.at_once);
  PhaseResult total;
  for (int64_t begin = 0; begin < n; begin += at_once) {
    const int64_t end = std::min(begin + at_once, n);
    const double share = double(end - begin) / double(n);
    std::vector<Tensor> gradients;
    std::vector<Term> report;
    {
      Terms terms = phase.terms(whole.slice(begin, end), rng);
      gradients = gradients_of(terms.total, share, trained);
      report = std::move(terms.report);
      report.insert(report.begin(), {"loss", terms.stat, terms.total.detach()});
    }
    const NoGrad no_grad;
    add_to(total.report, report, share);
    add_to(total.gradients, std::move(gradients));
  }
  return total;
}

}  // namespace firn
