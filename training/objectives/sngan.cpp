#include "training/objectives/sngan.h"

#include <fmt/format.h>

#include "models/sngan/sngan.h"
#include "training/augment/augment.h"
#include "training/step/reals.h"

namespace firn {
namespace {

const SnganLoss& loss_of(const TrainOptions& o) { return o.loss.as<SnganLoss>(); }

// Bytes v as v / 128 - 1, from v / 127.5 - 1; with U(0, 1/128) added, or the mean of that.
Tensor dequantised(const Tensor& images, double mean = 0) {
  constexpr double scale = 127.5 / 128;
  return affine(images, scale, scale - 1 + mean);
}
Tensor dequantised(const Tensor& images, const Tensor& uniform) {
  const Tensor x = dequantised(images);
  return uniform.defined() ? x + uniform * (1.0 / 128) : x;
}

std::vector<Phase> phases(const Training& t) {
  const TrainOptions& o = t.options;
  const Generator* g = &t.state.generator();
  const Discriminator* d = &t.state.discriminator();
  const DType type = g->type();
  const ImageShape size = o.model.images();
  const Shape image = {size.height, size.width, size.channels};
  const int64_t n = o.batch;
  const auto latents = [g, type](const GeneratedLabels& labels, int64_t n, Rng& rng) {
    Inputs in;
    in.put("z", randn({n, g->z_dim()}, rng, type, g->device()));
    in.put("gen_labels", labels.labels());
    return in;
  };
  // All classes are equally likely, whatever the reals are.
  const auto fakes = [&](int64_t count) {
    return std::make_shared<GeneratedLabels>(count, g->classes(), nullptr, g->device());
  };
  using Kind = Phase::Input::Kind;
  const Phase::Input z{"z", {g->z_dim()}, Kind::normal}, gen_labels{"gen_labels", {}, Kind::label},
      images{"images", image, Kind::images}, labels{"labels", {}, Kind::label};
  const auto g_labels = fakes(2 * n), d_labels = fakes(n);
  const Augment augment(o, t.state);
  return {
      {.name = "Gmain",
       .trains = "G",
       .samples = 2 * n,
       .at_once = 2 * o.batch_gpu,
       .feeds = {g_labels},
       .inputs = {z, gen_labels},
       .draw =
           [=](Rng& rng) {
             Inputs in = latents(*g_labels, 2 * n, rng);
             augment.draw(in, "fakes", 2 * n, rng);
             return in;
           },
       .terms =
           [=, &o](const Inputs& in, Rng*) {
             const Tensor made = g->forward(in["z"], in["gen_labels"]);
             const Tensor logits = (*d)(augment(made, in, "fakes"), in["gen_labels"]);
             return Terms{.total = g_loss(loss_of(o).loss, logits),
                          .stat = "Loss/G/loss",
                          .report = {{"fake_score", "", mean(logits.detach())}},
                          .fakes = {.images = made,
                                    .by = [in](const Generator& g) { return g.forward(in["z"], in["gen_labels"]); }}};
           }},
      {.name = "Dmain",
       .trains = "D",
       .repeats = loss_of(o).n_dis,
       .samples = n,
       .at_once = o.batch_gpu,
       .feeds = {std::make_shared<RealsFeed>(t.reals), d_labels},
       .inputs = {z, gen_labels, images, labels},
       .draw =
           [=, reals = t.reals](Rng& rng) {
             Inputs in = latents(*d_labels, n, rng);
             in.put("features", reals->features());
             if (!reals->features().defined()) {
               in.put("images", reals->images());
               in.put("dequantisation", uniform({n, image[0], image[1], image[2]}, 0, 1, rng, type, g->device()));
             }
             in.put("labels", reals->labels());
             augment.draw(in, "fakes", n, rng);
             augment.draw(in, "reals", n, rng);
             return in;
           },
       .terms =
           [=, &o](const Inputs& in, Rng*) {
             const auto [made, fakes] = [&] {
               const NoGrad scope;
               const Tensor images = g->forward(in["z"], in["gen_labels"]);
               return std::pair(images, augment(images, in, "fakes"));
             }();
             const bool cut = in.has("features");
             const Tensor reals =
                 cut ? Tensor{} : augment(dequantised(in["images"], in["dequantisation"]), in, "reals");
             const Tensor real = cut ? d->logits(in["features"], in["labels"]) : (*d)(reals, in["labels"]);
             const Tensor fake = cut ? d->logits(d->features(fakes), in["gen_labels"]) : (*d)(fakes, in["gen_labels"]);
             Terms terms{.total = d_loss(loss_of(o).loss, real, fake),
                         .stat = "Loss/D/loss",
                         .report = {{"real_score", "Loss/scores/real", mean(real.detach())},
                                    {"fake_score", "Loss/scores/fake", mean(fake.detach())}},
                         .reals = {.images = reals, .labels = in["labels"]},
                         .fakes = {.images = made, .call = 1}};
             augment.note(real, terms.report);
             return terms;
           }},
  };
}

std::string describe(const TrainOptions& o) {
  const SnganLoss& l = loss_of(o);
  return fmt::format("{}, {} steps of D{}", l.loss == GanLoss::hinge ? "hinge loss" : "non-saturating loss", l.n_dis,
                     l.average ? "" : ", no average");
}

// The papers count iterations, of 5 x 16 images: 450,000, the rate falling from 400,000 on; 20,000 to adapt a network.
void scratch(TrainOptions& o, int) {
  o.batch = o.batch_gpu = 16;
  o.lr = 2e-4;
  o.beta2 = 0.9;
  o.kimg = 36000;
  o.lr_decay_kimg = 32000;
  if (o.init.empty()) return;
  o.kimg = 1600;
  o.lr_decay_kimg = -1;
}

// For trying things on a CPU.
void small(TrainOptions& o, int size) {
  scratch(o, size);
  o.model.as<SnganOptions>().ch = 16;
  o.kimg = 800;
  o.lr_decay_kimg = -1;
}

}  // namespace

void SnganLoss::visit(OptionVisitor& v) {
  constexpr const char* group = "Configuration";
  v({.key = "loss", .flag = "--loss", .help = loss_help, .group = group}, loss_value(loss));
  v({.key = "n_dis",
     .flag = "--n-dis",
     .help = "steps of D for one of G [5]",
     .group = group,
     .least = 1,
     .most = 100,
     .may_change = true},
    n_dis);
  v({.key = "average",
     .flag = "--average",
     .help = "keep an average of G's weights, for pictures and snapshots",
     .group = group},
    average);
}

Objective sngan_objective() {
  return {.model = std::string(SnganOptions::kind),
          .presets = {{"auto", "", scratch}, {"small", "for CPUs", small}},
          .defaults = [] { return AnyOptions(SnganLoss{}); },
          .describe = describe,
          .averages = [](const TrainOptions& o) { return loss_of(o).average; },
          .adam = [](const TrainOptions& o,
                     std::string_view) { return AdamOptions{.lr = o.lr, .beta1 = o.beta1, .beta2 = o.beta2}; },
          .phases = phases,
          .loss = [](const TrainOptions& o) { return loss_of(o).loss; },
          .reals = [](const Tensor& images) { return dequantised(images, 0.5 / 128); }};
}

}  // namespace firn
