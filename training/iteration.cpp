#include "training/iteration.h"

#include <algorithm>
#include <chrono>

namespace firn {
namespace {

Tensor part(const Tensor& x, int64_t begin, int64_t end) { return x.defined() ? slice(x, 0, begin, end) : x; }

void add_to(std::vector<Tensor>& sums, std::vector<Tensor> terms) {
  if (sums.empty())
    sums = std::move(terms);
  else
    for (size_t i = 0; i < sums.size(); ++i) sums[i] = sums[i] + terms[i];
}

template <class F>
void timed(Iteration::Timing& timing, F&& phase) {
  const auto start = std::chrono::steady_clock::now();
  phase();
  timing.last = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  timing.total += timing.last;
  ++timing.runs;
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
                                   &PhaseInputs::labels, &PhaseInputs::pl_noise})
      in.*t = part(whole.*t, begin, end);
    PhaseResult result = phase(in);
    const double share = double(end - begin) / double(n);
    for (double PhaseResult::*v : {&PhaseResult::loss, &PhaseResult::real_score, &PhaseResult::fake_score,
                                   &PhaseResult::regularizer, &PhaseResult::path_length})
      total.*v += share * result.*v;
    NoGrad no_grad;
    add_to(total.gradients, std::move(result.gradients));
  }
  return total;
}

Tensor one_hot(std::span<const int> labels, int classes, DType type, const Device& device) {
  if (classes == 0) return {};
  std::vector<float> values(labels.size() * size_t(classes));
  for (size_t i = 0; i < labels.size(); ++i) values[i * size_t(classes) + size_t(labels[i])] = 1;
  return Tensor::from(values, {int64_t(labels.size()), classes}, type, device);
}

PhaseInputs Iteration::latents(int n) {
  const StyleGan2Options& m = options_.model;
  PhaseInputs in;
  in.rng = &state_.rng;
  in.z = randn({n, m.z_dim}, state_.rng, m.type, state_.device());
  if (m.c_dim > 0) {
    std::vector<int> classes(static_cast<size_t>(n));
    for (int& c : classes) c = dataset_.label(state_.rng.integer(0, dataset_.size()));
    in.gen_labels = one_hot(classes, m.c_dim, m.type, state_.device());
  }
  if (options_.loss.style_mixing > 0 && state_.rng.uniform() < options_.loss.style_mixing) {
    in.z_mix = randn({n, m.z_dim}, state_.rng, m.type, state_.device());
    in.mix_cutoff = int(state_.rng.integer(1, m.num_ws()));
  }
  return in;
}

void Iteration::g_main_step() {
  const PhaseResult r = accumulate(latents(options_.batch), options_.batch_gpu, [&](const PhaseInputs& in) {
    return g_main(state_.g, state_.d, in, options_.loss);
  });
  state_.stats["Loss/G/loss"].add(r.loss);
  state_.g_adam.step(r.gradients);
}

void Iteration::g_reg_step() {
  const StyleGan2Options& m = options_.model;
  const int n = std::max(1, options_.batch / 2);
  PhaseInputs whole = latents(n);
  whole.pl_noise = randn({n, images_.dim(1), images_.dim(2), images_.dim(3)}, state_.rng, m.type, state_.device());
  const PhaseResult r = accumulate(whole, std::max(1, options_.batch_gpu / 2), [&](const PhaseInputs& in) {
    return g_reg(state_.g, state_.pl_mean, in, options_.loss);
  });
  state_.stats["Loss/pl_penalty"].add(r.regularizer);
  state_.stats["Loss/path_length"].add(r.path_length);
  state_.stats["Loss/G/reg"].add(r.loss);
  state_.g_adam.step(r.gradients);
}

void Iteration::d_main_step() {
  PhaseInputs whole = latents(options_.batch);
  whole.images = images_;
  whole.labels = labels_;
  const PhaseResult r = accumulate(
      whole, options_.batch_gpu, [&](const PhaseInputs& in) { return d_main(state_.g, state_.d, in, options_.loss); });
  state_.stats["Loss/D/loss"].add(r.loss);
  state_.stats["Loss/scores/real"].add(r.real_score);
  state_.stats["Loss/scores/fake"].add(r.fake_score);
  state_.d_adam.step(r.gradients);
}

void Iteration::d_reg_step() {
  PhaseInputs whole;
  whole.images = images_;
  whole.labels = labels_;
  const PhaseResult r =
      accumulate(whole, options_.batch_gpu, [&](const PhaseInputs& in) { return d_reg(state_.d, in, options_.loss); });
  state_.stats["Loss/r1_penalty"].add(r.regularizer);
  state_.stats["Loss/D/reg"].add(r.loss);
  state_.d_adam.step(r.gradients);
}

void Iteration::run() {
  const StyleGan2Options& m = options_.model;
  const LossOptions& loss = options_.loss;
  const Batch reals = loader_.next();
  state_.data = loader_.position();
  images_ =
      Tensor::from(std::span<const float>(reals.images),
                   {options_.batch, m.height, m.width ? m.width : m.height, m.img_channels}, m.type, state_.device());
  labels_ = one_hot(reals.labels, m.c_dim, m.type, state_.device());

  Counters& c = state_.counters;
  const auto due = [&](int interval) { return interval > 0 && c.iteration % interval == 0; };
  const int64_t repaired_before = state_.g_adam.repaired() + state_.d_adam.repaired();
  timed(timings_[0], [&] { g_main_step(); });
  if (loss.pl_weight > 0 && due(loss.g_reg_interval)) timed(timings_[1], [&] { g_reg_step(); });
  timed(timings_[2], [&] { d_main_step(); });
  if (loss.r1_gamma > 0 && due(loss.d_reg_interval)) timed(timings_[3], [&] { d_reg_step(); });
  update_average(state_.ema.parameters(), state_.g.parameters(), ema_decay(options_, c.images));

  c.repaired += state_.g_adam.repaired() + state_.d_adam.repaired() - repaired_before;
  c.images += options_.batch;
  ++c.iteration;
}

}  // namespace firn
