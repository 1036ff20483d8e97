#include "training/methods/cdc.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "kernels/ops/control.h"
#include "models/layers/latent_table.h"
#include "models/layers/maker.h"
#include "models/layers/patch_head.h"
#include "training/methods/source.h"
#include "training/step/reals.h"

namespace firn {
namespace {

// Cosines of the activations of each sample and the others of its group: [N,group - 1]. Activations are read once, for
// all products of a group.
Tensor cosines(const Tensor& x, const Tensor& pairs) {
  const int64_t n = x.dim(0), group = cdc_group(n), count = n * (group - 1);
  const Tensor groups = reshape(as_type(x, acc_type(x.type())), {n / group, group, -1});
  const Tensor products = gather(reshape(matmul(groups, groups, {.trans_b = true}), {n * group, 1}), pairs);
  const auto part = [&](int64_t i) { return reshape(slice(products, 0, i * count, (i + 1) * count), {n, group - 1}); };
  return part(0) * rsqrt(part(1) * part(2) + 1e-16);
}

// Of each row; cosines do not overflow.
Tensor log_softmax(const Tensor& x) { return x - log(mean_axes(exp(x), {1}) * double(x.dim(1))); }

// Channels of activations of D, from a batch of nothing.
int channels_of(const Discriminator& d, const std::string& tap, const TrainOptions& o) {
  const NoGrad scope;
  const Taps seen(d, {tap});
  const ImageShape size = o.model.images();
  const Shape shape{o.batch_gpu, size.height, size.width, size.channels};
  const std::vector<int> labels(size_t(o.batch_gpu), 0);
  d(Tensor::zeros(shape, acc_type(d.parameters()[0]().type()), d.device()),
    class_labels(labels, o.model.basics().classes, d.device()), 1, Mode::eval);
  return int(seen.at(tap).dim(3));
}

std::string patches_of(const TrainOptions& o, const Discriminator& d) {
  const std::string& given = o.method<Cdc>().patches;
  return given.empty() ? tap_of_rows(d, o.model.images().height, 32) : given;
}

// Latents near anchors, of which one makes a whole image.
void draw_near_anchors(Phase& phase, const TrainState& s, double noise) {
  const auto* anchors = static_cast<const LatentTable*>(s.role("anchors").network.get());
  const auto which = std::make_shared<GeneratedLabels>(phase.samples, int(anchors->parameters()[0].value().dim(0)),
                                                       nullptr, s.device());
  phase.feeds.push_back(which);
  phase.draw = [=, draw = phase.draw](Rng& rng) {
    Inputs in = draw(rng);
    const Tensor z = in["z"], near = (*anchors)(which->labels()) + randn(z.shape(), rng, z.type(), z.device()) * noise;
    in.put("z", near);
    if (in.has("z_mix")) in.put("z_mix", near);
    return in;
  };
}

// + how images differ, beside how the source's do.
void compare_distances(Phase& phase, const TrainState& s, double weight) {
  const Generator *now = &s.generator(), *then = &source_generator(s);
  const auto pairs = std::make_shared<std::map<int64_t, Tensor>>();  // by the size of a batch
  const int64_t at_once = std::min(phase.samples, phase.at_once);
  pairs->emplace(at_once, cdc_pairs(at_once, s.device()));  // nothing is made while recording
  phase.terms = [=, terms = phase.terms](const Inputs& in, Rng* rng) {
    const SourceTaps both(*now, *then, now->tap_names());
    Terms all = terms(in, rng);
    Tensor& of_batch = (*pairs)[in.size()];
    if (!of_batch.defined()) of_batch = cdc_pairs(in.size(), now->device());
    const Tensor divergence = distance_consistency(both.of(all.fakes), of_batch);
    all.total = all.total + divergence * weight;
    all.report.push_back({"cdc", "Loss/G/cdc", divergence.detach()});
    return all;
  };
}

// The loss of patches in place of the loss of whole images, which then has no backward pass.
void judge_patches(Phase& phase, const Training& t) {
  const Discriminator* d = &t.state.discriminator();
  const auto* head = static_cast<const PatchHead*>(t.state.role("patches").network.get());
  const Objective* objective = &objective_of(t.options.model);
  const std::string at = patches_of(t.options, *d);
  const bool trains_d = phase.trains == "D";
  phase.name = phase.trains + "patch";
  if (trains_d) phase.beside.push_back("patches");
  phase.terms = [=, terms = phase.terms, &options = t.options](const Inputs& in, Rng* rng) {
    const Taps seen(*d, {at});
    Terms all = terms(in, rng);
    const auto patches = [&](size_t call, int64_t begin) {
      return (*head)(slice(seen.at(at, call), 0, begin, begin + in.size()));
    };
    const Tensor fake = patches(all.fakes.call, all.fakes.begin);
    if (!trains_d) {
      all.total = g_loss(objective->loss(options), fake);
      return all;
    }
    const Tensor real = patches(all.reals.call, all.reals.begin);
    all.total = d_loss(objective->loss(options), real, fake);
    all.report.push_back({"real_patches", "Loss/scores/real_patches", mean(real.detach())});
    all.report.push_back({"fake_patches", "Loss/scores/fake_patches", mean(fake.detach())});
    return all;
  };
}

}  // namespace

void Cdc::visit(OptionVisitor& v) {
  v({.key = "weight",
     .flag = "--cdc",
     .help = "weight of how images differ from each other, beside how the source's do [1000]",
     .group = method_group,
     .least = 0,
     .most = 1e9,
     .may_change = true},
    weight);
  v({.key = "anchors",
     .flag = "--cdc-anchors",
     .help = "latents around which D judges whole images, elsewhere patches [10]",
     .group = method_group,
     .least = 1,
     .most = 1e6},
    anchors);
  v({.key = "anchor_noise",
     .flag = "--cdc-anchor-noise",
     .help = "deviation of latents from their anchor [0.05]",
     .group = method_group,
     .least = 0,
     .most = 1e3,
     .may_change = true},
    anchor_noise);
  v({.key = "anchor_every",
     .flag = "--cdc-anchor-every",
     .help = "of how many iterations one is near anchors; 1: all, and D judges no patches [4]",
     .group = method_group,
     .least = 1,
     .most = 1e6,
     .may_change = true},
    anchor_every);
  v({.key = "patches",
     .flag = "--cdc-patches-at",
     .help = "block of D behind which patches are judged, like b64 [that which leaves 32x32 pixels, or the first]",
     .group = method_group},
    patches);
}

int64_t cdc_group(int64_t n) {
  if (n % 4 == 0) return 4;
  int64_t group = 3;
  while (group < n && n % group != 0) ++group;
  return group;
}

Tensor cdc_pairs(int64_t n, const Device& device) {
  if (n < 3) throw ShapeError(fmt::format("cross-domain correspondence: {} images; it compares three or more", n));
  const int64_t group = cdc_group(n);
  std::vector<int32_t> both, first, second;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = i / group * group; j < (i / group + 1) * group; ++j) {
      if (j == i) continue;
      both.push_back(int32_t(i * group + j % group));
      first.push_back(int32_t(i * group + i % group));
      second.push_back(int32_t(j * group + j % group));
    }
  for (const auto* more : {&first, &second}) both.insert(both.end(), more->begin(), more->end());
  return Tensor::from(both, {int64_t(both.size())}, device);
}

Tensor distance_consistency(const std::vector<std::pair<Tensor, Tensor>>& layers, const Tensor& pairs) {
  Tensor total;
  for (const auto& [now, then] : layers) {
    const Tensor p = log_softmax(cosines(then, pairs)), q = log_softmax(cosines(now, pairs));
    const Tensor divergence = mean(exp(p) * (p - q));
    total = total.defined() ? total + divergence : divergence;
  }
  return total * (1.0 / double(layers.size()));
}

Method cdc_method() {
  return {
      .name = "cdc",
      .paper = "cross-domain correspondence: Ojha et al. 2021, arXiv 2104.06820",
      .summary =
          "+ weight KL(how images differ in the source || now) on G; D judges whole images near anchors, else patches",
      .defaults = [] { return AnyOptions(Cdc{}); },
      .check =
          [](const TrainOptions& o) {
            require_source(o, "cdc");
            if (o.batch_gpu < 3)
              throw ConfigError(
                  "--method cdc compares images of a batch with two others or more: --batch-gpu is 3 or more");
            if (o.cache_features)
              throw ConfigError("--method cdc needs activations of D's front, which --cache-features does not compute");
            if (std::ranges::count(o.method_names, "glo"))
              throw ConfigError("--method cdc needs D, which glo does not train");
          },
      .prepare =
          [](TrainState& s, const TrainOptions& o) {
            keep_source(s, o, "G");
            const Generator& g = s.generator();
            s.roles.emplace_back("anchors", std::make_shared<LatentTable>(o.method<Cdc>().anchors, g, o.seed));
            s.roles.back().network->parameters().freeze();
            const int channels = channels_of(s.discriminator(), patches_of(o, s.discriminator()), o);
            s.roles.emplace_back("patches", std::make_shared<PatchHead>(channels, o.seed, g.type(), g.device()));
            s.roles.back().train(objective_of(o.model).adam(o, "D"));
          },
      .extend =
          [](std::vector<Phase>& phases, const Training& t) {
            const Cdc& o = t.options.method<Cdc>();
            for (size_t i = 0; i < phases.size(); ++i) {
              if (phases[i].lazy || (phases[i].trains != "G" && phases[i].trains != "D")) continue;
              Phase elsewhere = phases[i];
              judge_patches(elsewhere, t);
              elsewhere.interval = phases[i].interval = o.anchor_every;
              elsewhere.between = true;
              draw_near_anchors(phases[i], t.state, o.anchor_noise);
              if (phases[i].trains == "G")
                for (Phase* phase : {&phases[i], &elsewhere}) compare_distances(*phase, t.state, o.weight);
              if (o.anchor_every > 1) phases.insert(phases.begin() + std::ptrdiff_t(++i), std::move(elsewhere));
            }
          }};
}

}  // namespace firn
