#include "training/phases.h"

#include <cmath>

#include "base/error.h"
#include "kernels/ops/control.h"

namespace firn {
namespace {

Tensor mixed_ws(const StyleGan2Generator& g, const Tensor& w, const PhaseInputs& in) {
  return in.z_mix.defined() ? g.mix(w, g.map(in.z_mix, in.gen_labels), in.mixing) : g.broadcast(w);
}

// Zeros for parameters that the loss does not reach, whichever they are.
std::vector<Tensor> gradients_of(const Tensor& loss, double weight, const Parameters& parameters) {
  const std::vector<Tensor> targets = parameters.trainable().tensors();
  if (loss.wants_grad() && !targets.empty()) return grad(weight == 1 ? loss : loss * weight, targets);
  std::vector<Tensor> zeros;
  for (const Tensor& t : targets) zeros.push_back(Tensor::zeros(t.shape(), t.type(), t.device()));
  return zeros;
}

void copy_if_finite(Tensor& y, const Tensor& x) {
  dispatch_acc(y.type(), [&](auto tag) {
    using T = decltype(tag);
    run(y.stream(), kernels::CopyIfFinite<T>{y.mutable_as<T>(), x.as<T>()});
  });
}

}  // namespace

PhaseResult g_main(StyleGan2Generator& g, const StyleGan2Discriminator& d, const PhaseInputs& in, const LossOptions&) {
  const FrozenScope only_passed_through(d.parameters());
  const Tensor w = g.map(in.z, in.gen_labels);
  g.update_w_avg(w);
  const Tensor logits = d(g.synthesize(mixed_ws(g, w, in), in.noise, in.rng), in.gen_labels);
  const Tensor loss = mean(softplus(-logits));
  return {.loss = loss.detach(),
          .fake_score = mean(logits.detach()),
          .gradients = gradients_of(loss, in.weight, g.parameters())};
}

PhaseResult g_reg(StyleGan2Generator& g, Tensor& pl_mean, const PhaseInputs& in, const LossOptions& o) {
  const Tensor w = g.map(in.z, in.gen_labels);
  g.update_w_avg(w);
  Tensor ws = mixed_ws(g, w, in);
  if (!ws.wants_grad()) ws = ws.require_grad();  // the mapping network is frozen
  const Tensor images = g.synthesize(ws, in.noise, in.rng);
  const double pixels = static_cast<double>(images.dim(1) * images.dim(2));
  const Tensor along = grad(images * (in.pl_noise * (1 / std::sqrt(pixels))), {ws}, {.create_graph = true})[0];
  const Tensor lengths = sqrt(sum_per_sample(square(along)) * (1.0 / static_cast<double>(ws.dim(1))));
  // The penalty uses the updated average, so a small part of the gradient flows through it.
  const Tensor before = reshape(pl_mean, {}).detach(), length = mean(lengths);
  const Tensor average = before + (length - before) * o.pl_decay;
  const Tensor penalty = mean(square(lengths - average));
  const Tensor loss = penalty * (o.pl_weight * o.g_reg_interval);
  copy_if_finite(pl_mean, average);  // one overflow must not stay in the average for good
  return {.loss = loss.detach(),
          .regularizer = penalty.detach(),
          .path_length = length.detach(),
          .gradients = gradients_of(loss, in.weight, g.parameters())};
}

PhaseResult d_main(StyleGan2Generator& g, const StyleGan2Discriminator& d, const PhaseInputs& in, const LossOptions&) {
  const bool cached = in.features.defined();
  const Tensor& reals = cached ? in.features : in.images;
  const int64_t n = reals.dim(0);
  if (in.z.dim(0) != n) throw ShapeError(fmt::format("d_main: {} fakes and {} reals share one batch", in.z.dim(0), n));
  const auto generate = [&] {
    const NoGrad scope;
    const Tensor w = g.map(in.z, in.gen_labels);
    g.update_w_avg(w);
    return g.synthesize(mixed_ws(g, w, in), in.noise, in.rng);
  };
  const Tensor labels = in.labels.defined() ? concat({in.gen_labels, in.labels}, 0) : Tensor{};
  const Tensor logits = cached ? d.logits(concat({d.features(generate()), reals}, 0), labels, 2)
                               : d(concat({generate(), reals}, 0), labels, 2);
  const Tensor fake = slice(logits, 0, 0, n), real = slice(logits, 0, n, 2 * n);
  const Tensor loss = mean(softplus(fake)) + mean(softplus(-real));
  return {.loss = loss.detach(),
          .real_score = mean(real.detach()),
          .fake_score = mean(fake.detach()),
          .gradients = gradients_of(loss, in.weight, d.parameters())};
}

PhaseResult d_reg(const StyleGan2Discriminator& d, const PhaseInputs& in, const LossOptions& o) {
  const Tensor images = in.images.require_grad();
  const Tensor logits = d(images, in.labels);
  const Tensor slopes = grad(logits, {images}, {.create_graph = true})[0];
  const Tensor penalty = mean(sum_per_sample(square(slopes)));
  const Tensor loss = penalty * (o.r1_gamma / 2 * o.d_reg_interval);
  return {.loss = loss.detach(),
          .real_score = mean(logits.detach()),
          .regularizer = penalty.detach(),
          .gradients = gradients_of(loss, in.weight, d.parameters())};
}

}  // namespace firn
