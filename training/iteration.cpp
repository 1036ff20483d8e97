#include "training/iteration.h"

#include <algorithm>

#include "engine/range.h"

namespace firn {
namespace {

Tensor part(const Tensor& x, int64_t begin, int64_t end) { return x.defined() ? slice(x, 0, begin, end) : x; }

void add_to(std::vector<Tensor>& sums, std::vector<Tensor> terms) {
  if (sums.empty())
    sums = std::move(terms);
  else
    for (size_t i = 0; i < sums.size(); ++i) sums[i] = sums[i] + terms[i];
}

}  // namespace

PhaseResult accumulate(const PhaseInputs& whole, int64_t micro,
                       const std::function<PhaseResult(const PhaseInputs&)>& phase) {
  const int64_t n = (whole.z.defined() ? whole.z : whole.images).dim(0);
  PhaseResult total;
  for (int64_t begin = 0; begin < n; begin += micro) {
    const int64_t end = std::min(begin + micro, n);
    PhaseInputs in = whole;
    in.weight = whole.weight * double(end - begin) / double(n);
    for (Tensor PhaseInputs::*t : {&PhaseInputs::z, &PhaseInputs::z_mix, &PhaseInputs::gen_labels, &PhaseInputs::images,
                                   &PhaseInputs::labels, &PhaseInputs::features, &PhaseInputs::pl_noise})
      in.*t = part(whole.*t, begin, end);
    PhaseResult result = phase(in);
    const double share = double(end - begin) / double(n);
    const NoGrad no_grad;
    for (Tensor PhaseResult::*v : {&PhaseResult::loss, &PhaseResult::real_score, &PhaseResult::fake_score,
                                   &PhaseResult::regularizer, &PhaseResult::path_length}) {
      if (!(result.*v).defined()) continue;
      const Tensor term = share == 1 ? result.*v : result.*v * share;
      total.*v = (total.*v).defined() ? total.*v + term : term;
    }
    add_to(total.gradients, std::move(result.gradients));
  }
  return total;
}

Iteration::Iteration(const TrainOptions& options, TrainState& state, const Dataset& dataset, Reals& reals)
    : options_(options), state_(state), dataset_(dataset), reals_(reals), phases_([&] {
        const auto arena = std::make_shared<Arena>();
        return std::array{make_phase("Gmain", options.batch, arena),
                          make_phase("Greg", std::max(1, options.batch / 2), arena),
                          make_phase("Dmain", options.batch, arena), make_phase("Dreg", options.batch, arena)};
      }()) {}

Iteration::Phase Iteration::make_phase(const char* name, int n, const std::shared_ptr<Arena>& arena) const {
  const StyleGan2Options& m = options_.model;
  return {name,
          n,
          LabelFeed(n, m.c_dim, m.type, state_.device()),
          Tensor::zeros({m.num_ws()}, m.type, state_.device()),
          Replay(state_.device(), arena),
          std::make_unique<kernels::DeviceTimer>(state_.device().stream())};
}

void Iteration::Phase::collect() {
  if (!std::exchange(timing.pending, false)) return;
  timing.last = timer->ms();
  timing.total += timing.last;
  ++timing.runs;
}

std::array<Iteration::Timing, 4> Iteration::timings() {
  for (Phase& phase : phases_) phase.collect();
  return {phases_[0].timing, phases_[1].timing, phases_[2].timing, phases_[3].timing};
}

PhaseInputs Iteration::latents(const Phase& phase, Rng& rng) const {
  const StyleGan2Options& m = options_.model;
  PhaseInputs in;
  in.rng = &rng;
  in.z = randn({phase.n, m.z_dim}, rng, m.type, state_.device());
  in.gen_labels = phase.labels.one_hot();
  if (options_.loss.style_mixing > 0) {
    in.z_mix = randn({phase.n, m.z_dim}, rng, m.type, state_.device());
    in.mixing = phase.mixing;
  }
  return in;
}

void Iteration::step(Phase& phase, Adam& adam, double average_decay, const std::function<PhaseResult(Rng&)>& loss) {
  const Range range(phase.name);
  phase.collect();
  const bool typical = !state_.device().is_cuda() || phase.replay.settled();  // not choosing, planning, recording
  phase.timer->start();
  adam.advance(average_decay);
  phase.replay.run(state_.rng, [&](Rng& draws) { adam.apply(loss(draws).gradients); });
  phase.timer->finish();
  phase.timing.pending = typical;
}

void Iteration::draw_inputs(Phase& phase) {
  const StyleGan2Options& m = options_.model;
  Rng& rng = state_.rng;
  if (m.c_dim > 0) {
    std::vector<int> classes(static_cast<size_t>(phase.n));
    for (int& c : classes) c = dataset_.label(rng.integer(0, dataset_.size()));
    phase.labels.put(classes);
  }
  const int64_t cutoff = rng.uniform() < options_.loss.style_mixing ? rng.integer(1, m.num_ws()) : m.num_ws();
  state_.g.set_mixing(phase.mixing, static_cast<int>(cutoff));
}

void Iteration::g_main_step(double average_decay) {
  Phase& phase = phases_[0];
  draw_inputs(phase);
  step(phase, state_.g_adam, average_decay, [&](Rng& rng) {
    PhaseResult r = accumulate(latents(phase, rng), options_.batch_gpu,
                               [&](const PhaseInputs& in) { return g_main(state_.g, state_.d, in, options_.loss); });
    state_.stats.add("Loss/G/loss", r.loss);
    return r;
  });
}

void Iteration::g_reg_step(double average_decay) {
  Phase& phase = phases_[1];
  draw_inputs(phase);
  step(phase, state_.g_adam, average_decay, [&](Rng& rng) {
    PhaseInputs whole = latents(phase, rng);
    Shape images = reals_.images().shape();
    images[0] = phase.n;
    whole.pl_noise = randn(images, rng, options_.model.type, state_.device());
    PhaseResult r = accumulate(whole, std::max(1, options_.batch_gpu / 2), [&](const PhaseInputs& in) {
      return g_reg(state_.g, state_.pl_mean, in, options_.loss);
    });
    state_.stats.add("Loss/pl_penalty", r.regularizer);
    state_.stats.add("Loss/path_length", r.path_length);
    state_.stats.add("Loss/G/reg", r.loss);
    return r;
  });
}

void Iteration::d_main_step() {
  Phase& phase = phases_[2];
  draw_inputs(phase);
  step(phase, state_.d_adam, 1, [&](Rng& rng) {
    PhaseInputs whole = latents(phase, rng);
    whole.images = reals_.images();
    whole.features = reals_.features();
    whole.labels = reals_.labels();
    PhaseResult r = accumulate(whole, options_.batch_gpu,
                               [&](const PhaseInputs& in) { return d_main(state_.g, state_.d, in, options_.loss); });
    state_.stats.add("Loss/D/loss", r.loss);
    state_.stats.add("Loss/scores/real", r.real_score);
    state_.stats.add("Loss/scores/fake", r.fake_score);
    return r;
  });
}

void Iteration::d_reg_step() {
  step(phases_[3], state_.d_adam, 1, [&](Rng&) {
    PhaseInputs whole;
    whole.images = reals_.images();
    whole.labels = reals_.labels();
    PhaseResult r = accumulate(whole, options_.batch_gpu,
                               [&](const PhaseInputs& in) { return d_reg(state_.d, in, options_.loss); });
    state_.stats.add("Loss/r1_penalty", r.regularizer);
    state_.stats.add("Loss/D/reg", r.loss);
    return r;
  });
}

void Iteration::run() {
  const LossOptions& loss = options_.loss;
  reals_.next();
  state_.data = reals_.position();

  Counters& c = state_.counters;
  const auto due = [&](int interval) { return interval > 0 && c.iteration % interval == 0; };
  const double decay = ema_decay(options_, c.images);
  const bool regularize_g = loss.pl_weight > 0 && due(loss.g_reg_interval);
  g_main_step(regularize_g ? 1 : decay);  // the average moves with the last step of G
  if (regularize_g) g_reg_step(decay);
  d_main_step();
  if (loss.r1_gamma > 0 && due(loss.d_reg_interval)) d_reg_step();
  update_average(state_.not_trained.averages, state_.not_trained.current, decay);
  c.images += options_.batch;
  ++c.iteration;
}

}  // namespace firn
