#include "training/step/iteration.h"

#include "engine/range.h"

namespace firn {

Iteration::Iteration(const TrainOptions& options, TrainState& state, const Dataset* dataset, Reals& reals,
                     Communicator& processes)
    : options_(options), state_(state), reals_(reals), processes_(processes), augment_(options, state) {
  Training training{.options = options, .state = state, .reals = &reals, .draw_label = {}};
  if (dataset) training.draw_label = [dataset](Rng& rng) { return dataset->label(rng.integer(0, dataset->size())); };
  phases_ = phases_of(training);
  for (const Role& role : state.roles)
    if (auto* d = dynamic_cast<Discriminator*>(role.network.get())) d->settle();
  const auto arena = std::make_shared<Arena>();
  for (const Phase& phase : phases_) runs_.emplace_back(state.device(), arena, phase.name, processes);
}

Iteration::Runs::Runs(const Device& device, const std::shared_ptr<Arena>& arena, const std::string& name,
                      Communicator& processes)
    : replay(device, arena, processes),
      timer(std::make_unique<kernels::DeviceTimer>(device.stream())),
      timing{.name = name} {}

void Iteration::Runs::collect() {
  if (!std::exchange(timing.pending, false)) return;
  timing.last = timer->ms();
  timing.total += timing.last;
  ++timing.runs;
}

std::vector<Iteration::Timing> Iteration::timings() {
  std::vector<Timing> all;
  for (size_t i = 0; i < runs_.size(); ++i) {
    runs_[i].collect();
    all.push_back(runs_[i].timing);
    all.back().over = phases_[i].until <= state_.counters.iteration;
  }
  return all;
}

void Iteration::run_phase(size_t i, double average_decay) {
  const Phase& phase = phases_[i];
  Runs& runs = runs_[i];
  Role& role = state_.role(phase.trains);
  const Range range(phase.name.c_str());
  runs.collect();
  const bool typical = !state_.device().is_cuda() || runs.replay.settled();  // not choosing, planning, recording
  runs.timer->start();
  for (const auto& feed : phase.feeds) feed->refresh(state_.rng);
  std::vector<Role*> trained = {&role};
  for (const std::string& name : phase.beside) trained.push_back(&state_.role(name));
  for (Role* r : trained) {
    r->adam->set_lr(r->lr * lr_share(options_, state_.counters.images));
    r->adam->advance(average_decay);
  }
  const int64_t sent = processes_.bytes_sent();
  runs.replay.run(state_.rng, [&](Rng& rng) {
    PhaseResult result = ::firn::run_phase(phase, state_, phase.draw(rng), &rng, processes_,
                                           options_.bf16_gradients ? Wire::bf16 : Wire::as_is);
    for (const Term& term : result.report)
      if (!term.stat.empty()) state_.stats.add(term.stat, term.value);
    auto next = result.gradients.begin();
    for (Role* r : trained) {
      const auto end = next + std::ptrdiff_t(r->adam->targets().size());
      r->adam->apply({next, end});
      next = end;
    }
  });
  if (processes_.bytes_sent() > sent)
    runs.sent = processes_.bytes_sent() - sent;
  else
    processes_.note_sent(runs.sent);  // by a graph
  runs.timer->finish();
  runs.timing.pending = typical;
}

int64_t Iteration::images() const {
  int64_t n = 0;
  for (const Phase& phase : phases_)
    for (const auto& feed : phase.feeds)
      if (!phase.lazy && !phase.between && phase.until == INT64_MAX) n += phase.repeats * feed->reals();
  return n > 0 ? n : options_.batch;  // phases of others may have feeds that do not say
}

void Iteration::run() {
  Counters& c = state_.counters;
  const double decay = ema_decay(options_, c.images, images());
  // An average moves with the last step of its network.
  std::map<std::string, std::pair<size_t, int>> last;
  for (size_t i = 0; i < phases_.size(); ++i)
    if (phases_[i].due(c.iteration)) last[phases_[i].trains] = {i, phases_[i].repeats - 1};
  const int64_t shown = reals_.shown();
  for (size_t i = 0; i < phases_.size(); ++i)
    for (int repeat = 0; phases_[i].due(c.iteration) && repeat < phases_[i].repeats; ++repeat)
      run_phase(i,
                state_.role(phases_[i].trains).average && last[phases_[i].trains] == std::pair(i, repeat) ? decay : 1);
  for (const Role& role : state_.roles)
    if (role.average) update_average(role.not_trained.averages, role.not_trained.current, decay, Part::frozen);
  state_.data = reals_.position();
  c.images += reals_.shown() - shown;
  ++c.iteration;
  augment_.iteration_ends(c.iteration, images());
}

}  // namespace firn
