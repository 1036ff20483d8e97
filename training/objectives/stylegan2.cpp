#include "training/objectives/stylegan2.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "kernels/ops/control.h"
#include "models/stylegan2/stylegan2.h"
#include "training/augment/augment.h"
#include "training/step/reals.h"

namespace firn {
namespace {

const StyleGan2Loss& loss_of(const TrainOptions& o) { return o.loss.as<StyleGan2Loss>(); }

// Where style mixing changes from one latent to the other, as the generator takes it.
struct MixingFeed : Feed {
  MixingFeed(const StyleGenerator& g, double probability)
      : g(g), probability(probability), share(Tensor::zeros({g.num_ws()}, g.type(), g.device())) {}
  void refresh(Rng& rng) override {
    const int64_t cutoff = rng.uniform() < probability ? rng.integer(1, g.num_ws()) : g.num_ws();
    g.set_mixing(share, static_cast<int>(cutoff));
  }
  const StyleGenerator& g;
  const double probability;
  Tensor share;  // [num_ws]
};

void copy_if_finite(Tensor& y, const Tensor& x) {
  dispatch_acc(y.type(), [&](auto tag) {
    using T = decltype(tag);
    run(y.stream(), kernels::CopyIfFinite<T>{y.mutable_as<T>(), x.as<T>()});
  });
}

// ws of w and, where the batch has a second latent, of that behind the cutoff.
Tensor mixed_ws(const StyleGenerator& g, const Tensor& w, const Inputs& in, const Tensor& share) {
  const Tensor z_mix = in["z_mix"];
  return z_mix.defined() ? g.mix(w, g.map(z_mix, in["gen_labels"]), share) : g.broadcast(w);
}

Terms g_main(StyleGenerator& g, const Discriminator& d, const Augment& augment, GanLoss loss, const Inputs& in,
             const Tensor& share, Rng* rng) {
  const Tensor w = g.map(in["z"], in["gen_labels"]);
  g.update_w_avg(w);
  const Tensor images = g.synthesize(mixed_ws(g, w, in, share), rng);
  const Tensor logits = d(augment(images, in, "fakes"), in["gen_labels"]);
  return {.total = g_loss(loss, logits),
          .stat = "Loss/G/loss",
          .report = {{"fake_score", "", mean(logits.detach())}},
          .fakes = {.images = images, .by = [=](const Generator& other) {
                      const auto& s = dynamic_cast<const StyleGenerator&>(other);
                      return s.synthesize(mixed_ws(s, s.map(in["z"], in["gen_labels"]), in, share), rng);
                    }}};
}

// pl_mean [1] is updated. `in` holds the reduced batch (half of the images).
Terms g_reg(StyleGenerator& g, Tensor& pl_mean, const StyleGan2Loss& o, const Inputs& in, const Tensor& share,
            Rng* rng) {
  const Tensor w = g.map(in["z"], in["gen_labels"]);
  g.update_w_avg(w);
  Tensor ws = mixed_ws(g, w, in, share);
  if (!ws.wants_grad()) ws = ws.require_grad();  // the mapping network is frozen
  const Tensor images = g.synthesize(ws, rng);
  const double pixels = static_cast<double>(images.dim(1) * images.dim(2));
  const Tensor along = grad(images * (in["pl_noise"] * (1 / std::sqrt(pixels))), {ws}, {.create_graph = true})[0];
  const Tensor lengths = sqrt(sum_per_sample(square(along)) * (1.0 / static_cast<double>(ws.dim(1))));
  // The penalty uses the updated average, so a small part of the gradient flows through it.
  const Tensor before = reshape(pl_mean, {}).detach(), length = mean(lengths);
  const Tensor average = before + (length - before) * o.pl_decay;
  const Tensor penalty = mean(square(lengths - average));
  copy_if_finite(pl_mean, average);  // one overflow must not stay in the average for good
  return {.total = penalty * (o.pl_weight * o.g_reg_interval),
          .stat = "Loss/G/reg",
          .report = {{"regularizer", "Loss/pl_penalty", penalty.detach()},
                     {"path_length", "Loss/path_length", length.detach()}}};
}

Terms d_main(StyleGenerator& g, const Discriminator& d, const Augment& augment, GanLoss loss, const Inputs& in,
             const Tensor& share, Rng* rng) {
  const Tensor features = in["features"], labels_here = in["labels"], gen_labels = in["gen_labels"];
  const Tensor reals = features.defined() ? features : augment(in["images"], in, "reals");
  const int64_t n = in.size();
  const auto [made, fakes] = [&] {
    const NoGrad scope;
    const Tensor w = g.map(in["z"], gen_labels);
    g.update_w_avg(w);
    const Tensor images = g.synthesize(mixed_ws(g, w, in, share), rng);
    return std::pair(images, augment(images, in, "fakes"));
  }();
  const Tensor labels = labels_here.defined() ? concat({gen_labels, labels_here}, 0) : Tensor{};
  const Tensor logits = features.defined() ? d.logits(concat({d.features(fakes), reals}, 0), labels, 2)
                                           : d(concat({fakes, reals}, 0), labels, 2);
  const Tensor fake = slice(logits, 0, 0, n), real = slice(logits, 0, n, 2 * n);
  Terms terms{.total = d_loss(loss, real, fake),
              .stat = "Loss/D/loss",
              .report = {{"real_score", "Loss/scores/real", mean(real.detach())},
                         {"fake_score", "Loss/scores/fake", mean(fake.detach())}},
              .reals = {.images = features.defined() ? Tensor{} : reals, .labels = labels_here, .begin = n},
              .fakes = {.images = made}};
  augment.note(real, terms.report);
  return terms;
}

// By the images as they are, through what happens to them.
Terms d_reg(const Discriminator& d, const Augment& augment, const StyleGan2Loss& o, const Inputs& in) {
  const Tensor images = in["images"].require_grad();
  const Tensor logits = d(augment(images, in, "reals"), in["labels"]);
  const Tensor slopes = grad(logits, {images}, {.create_graph = true})[0];
  const Tensor penalty = mean(sum_per_sample(square(slopes)));
  Terms terms{
      .total = penalty * (o.r1_gamma / 2 * o.d_reg_interval),
      .stat = "Loss/D/reg",
      .report = {{"real_score", "", mean(logits.detach())}, {"regularizer", "Loss/r1_penalty", penalty.detach()}}};
  augment.note(logits, terms.report);
  return terms;
}

std::vector<Phase> phases(const Training& t) {
  const TrainOptions& o = t.options;
  const StyleGan2Loss& loss = loss_of(o);
  auto* g = dynamic_cast<StyleGenerator*>(&t.state.generator());
  if (!g) throw ConfigError("path lengths and style mixing need a style-based generator");
  const Discriminator* d = &t.state.discriminator();
  const DType type = g->type();
  const int64_t n = o.batch, half = std::max(1, o.batch / 2);
  const ImageShape size = o.model.images();
  const Shape image = {size.height, size.width, size.channels};

  struct Fakes {  // what a phase needs that generates
    std::shared_ptr<GeneratedLabels> labels;
    std::shared_ptr<MixingFeed> mixing;
    std::vector<std::shared_ptr<Feed>> feeds() const { return {labels, mixing}; }
  };
  const auto fakes = [&](int64_t n) {
    return Fakes{std::make_shared<GeneratedLabels>(n, g->classes(), t.draw_label, g->device()),
                 std::make_shared<MixingFeed>(*g, loss.style_mixing)};
  };
  const auto latents = [g, type, mixes = loss.style_mixing > 0](const Fakes& f, int64_t n, Rng& rng) {
    Inputs in;
    in.put("z", randn({n, g->z_dim()}, rng, type, g->device()));
    in.put("gen_labels", f.labels->labels());
    if (mixes) in.put("z_mix", randn({n, g->z_dim()}, rng, type, g->device()));
    return in;
  };
  const auto input = [](const char* name, Shape shape, Phase::Input::Kind kind, const char* file = "") {
    return Phase::Input{.name = name, .shape = std::move(shape), .kind = kind, .file = file};
  };
  using Kind = Phase::Input::Kind;
  const auto z = input("z", {g->z_dim()}, Kind::normal), images = input("images", image, Kind::images),
             gen_labels = input("gen_labels", {}, Kind::label, "labels"), labels = input("labels", {}, Kind::label);

  const Augment augment(o, t.state);
  const Fakes gm = fakes(n), gr = fakes(half), dm = fakes(n);
  const auto reals_feed = std::make_shared<RealsFeed>(t.reals);
  return {
      {.name = "Gmain",
       .trains = "G",
       .samples = n,
       .at_once = o.batch_gpu,
       .feeds = gm.feeds(),
       .inputs = {z, gen_labels},
       .draw =
           [=](Rng& rng) {
             Inputs in = latents(gm, n, rng);
             augment.draw(in, "fakes", n, rng);
             return in;
           },
       .terms = [=](const Inputs& in,
                    Rng* rng) { return g_main(*g, *d, augment, loss.loss, in, gm.mixing->share, rng); }},
      {.name = "Greg",
       .trains = "G",
       .interval = loss.pl_weight > 0 ? loss.g_reg_interval : 0,
       .lazy = true,
       .samples = half,
       .at_once = std::max(1, o.batch_gpu / 2),
       .feeds = gr.feeds(),
       .inputs = {z, gen_labels, input("pl_noise", image, Kind::images)},
       .draw =
           [=](Rng& rng) {
             Inputs in = latents(gr, half, rng);
             in.put("pl_noise", randn({half, image[0], image[1], image[2]}, rng, type, g->device()));
             return in;
           },
       .terms = [=, pl_mean = &t.state.scalar("pl_mean")](
                    const Inputs& in, Rng* rng) { return g_reg(*g, *pl_mean, loss, in, gr.mixing->share, rng); }},
      {.name = "Dmain",
       .trains = "D",
       .samples = n,
       .at_once = o.batch_gpu,
       .feeds = {reals_feed, dm.labels, dm.mixing},
       .inputs = {z, gen_labels, images, labels},
       .draw =
           [=, reals = t.reals](Rng& rng) {
             Inputs in = latents(dm, n, rng);
             in.put("features", reals->features());
             if (!reals->features().defined()) in.put("images", reals->images());
             in.put("labels", reals->labels());
             augment.draw(in, "fakes", n, rng);
             augment.draw(in, "reals", n, rng);
             return in;
           },
       .terms = [=](const Inputs& in,
                    Rng* rng) { return d_main(*g, *d, augment, loss.loss, in, dm.mixing->share, rng); }},
      {.name = "Dreg",
       .trains = "D",
       .interval = loss.r1_gamma > 0 ? loss.d_reg_interval : 0,
       .lazy = true,
       .samples = n,
       .at_once = o.batch_gpu,
       .inputs = {images, labels},
       .draw =
           [=, reals = t.reals](Rng& rng) {
             Inputs in;
             in.put("images", reals->images());
             in.put("labels", reals->labels());
             augment.draw(in, "reals", n, rng);
             return in;
           },
       .terms = [=](const Inputs& in, Rng*) { return d_reg(*d, augment, loss, in); }},
  };
}

// What divides a batch at once as groups of about that size. A group of one compares nothing.
int fitting_group(int wish, int batch) {
  if (wish <= 1) return 1;
  for (int group = std::min(wish, batch); group > 1; --group)
    if (batch % group == 0) return group;
  for (int group = wish + 1; group < batch; ++group)
    if (batch % group == 0) return group;
  return std::max(batch, 1);
}

void settle(TrainOptions& o, const Overlay& given) {
  StyleGan2Options& m = o.model.as<StyleGan2Options>();
  if (!given.has("--mbstd-group")) m.mbstd_group = fitting_group(m.mbstd_group, o.batch_gpu);
}

void check(const TrainOptions& o) {
  const int group = o.model.as<StyleGan2Options>().mbstd_group;
  if (group < 1 || o.batch_gpu % std::min(group, o.batch_gpu) != 0)
    throw ConfigError(
        fmt::format("the batch at once ({}) is not a multiple of the minibatch-std group ({}); set --batch-gpu or "
                    "--mbstd-group",
                    o.batch_gpu, group));
}

std::string describe(const TrainOptions& o) {
  return fmt::format("groups of {}, gamma {:.4g}", std::min(o.model.as<StyleGan2Options>().mbstd_group, o.batch_gpu),
                     loss_of(o).r1_gamma);
}

AdamOptions adam(const TrainOptions& o, std::string_view role) {
  return lazy_adam(o, role == "G" ? loss_of(o).g_reg_interval : loss_of(o).d_reg_interval);
}

void automatic(TrainOptions& o, int size) {
  StyleGan2Options& m = o.model.as<StyleGan2Options>();
  o.batch = std::max(std::min(4096 / size, 32), 1);
  if (o.batch > 4) o.batch -= o.batch % 4;  // whole groups of minibatch-std
  o.batch_gpu = o.batch;
  m.mbstd_group = std::min(o.batch, 4);
  m.channel_base = size >= 512 ? 32768 : 16384;
  m.mapping_layers = 2;
  o.lr = size >= 1024 ? 0.002 : 0.0025;
  o.loss.as<StyleGan2Loss>().r1_gamma = 0.0002 * size * size / o.batch;
  o.ema_kimg = o.batch * 10.0 / 32;
  o.ema_ramp = 0.05;
}

// For trying things on a CPU: `auto` with an eighth of the channels and short style vectors.
void small(TrainOptions& o, int size) {
  automatic(o, size);
  StyleGan2Options& m = o.model.as<StyleGan2Options>();
  o.kimg = 200;
  m.channel_base /= 8;
  m.channel_max = 128;
  m.z_dim = m.w_dim = 128;
}

// A configuration of the papers: theirs for several GPUs, `batch_gpu` the batch of one.
struct Published {
  int batch = 32, batch_gpu = 4, group = 4, channel_base = 32768;
  double lr = 0.002, gamma = 10, ema_kimg = 10;
};
auto published(Published p) {
  return [p](TrainOptions& o, int) {
    StyleGan2Options& m = o.model.as<StyleGan2Options>();
    o.batch = p.batch;
    o.batch_gpu = p.batch_gpu;
    o.lr = p.lr;
    o.ema_kimg = p.ema_kimg;
    m.mbstd_group = p.group;
    m.channel_base = p.channel_base;
    o.loss.as<StyleGan2Loss>().r1_gamma = p.gamma;
  };
}

void cifar(TrainOptions& o, int size) {
  published({.batch = 64, .batch_gpu = 32, .group = 32, .lr = 0.0025, .gamma = 0.01, .ema_kimg = 500})(o, size);
  o.kimg = 100000;
  o.ema_ramp = 0.05;
  o.model.as<StyleGan2Options>().mapping_layers = 2;
  o.model.as<StyleGan2Options>().d_architecture = Architecture::orig;
  o.loss.as<StyleGan2Loss>().pl_weight = o.loss.as<StyleGan2Loss>().style_mixing = 0;
}

}  // namespace

void StyleGan2Loss::visit(OptionVisitor& v) {
  constexpr const char* group = "Configuration";
  v({.key = "loss", .flag = "--loss", .help = loss_help, .group = group}, loss_value(loss));
  v({.key = "r1_gamma",
     .flag = "--gamma",
     .help = "weight of the R1 penalty",
     .group = group,
     .least = 0,
     .most = 1e9,
     .may_change = true,
     .folder = "gamma"},
    r1_gamma);
  v({.key = "pl_weight",
     .flag = "--pl-weight",
     .help = "weight of path-length regularisation",
     .group = group,
     .least = 0,
     .most = 1e9,
     .may_change = true},
    pl_weight);
  v({.key = "pl_decay"}, pl_decay);
  v({.key = "style_mixing",
     .flag = "--mixing",
     .help = "probability of style mixing",
     .group = group,
     .least = 0,
     .most = 1,
     .may_change = true},
    style_mixing);
  v({.key = "g_reg_interval", .least = 0}, g_reg_interval);
  v({.key = "d_reg_interval", .least = 0}, d_reg_interval);
}

Objective stylegan2_objective() {
  return {
      .model = std::string(StyleGan2Options::kind),
      .presets = {{"auto", "", automatic},
                  {"small", "for CPUs", small},
                  {"stylegan2", "", published({})},
                  {"paper256", "",
                   published({.batch = 64,
                              .batch_gpu = 8,
                              .group = 8,
                              .channel_base = 16384,
                              .lr = 0.0025,
                              .gamma = 1,
                              .ema_kimg = 20})},
                  {"paper512", "",
                   published({.batch = 64, .batch_gpu = 8, .group = 8, .lr = 0.0025, .gamma = 0.5, .ema_kimg = 20})},
                  {"paper1024", "", published({.gamma = 2})},
                  {"cifar", "", cifar}},
      .defaults = [] { return AnyOptions(StyleGan2Loss{}); },
      .settle = settle,
      .check = check,
      .describe = describe,
      .adam = adam,
      .scalars =
          [](const TrainOptions& o, const Device& device) {
            return std::vector<std::pair<std::string, Tensor>>{{"pl_mean", Tensor::zeros({1}, o.model.type(), device)}};
          },
      .phases = phases,
      .loss = [](const TrainOptions& o) { return loss_of(o).loss; },
      .steadier = "a smaller --lr or a larger --gamma"};
}

}  // namespace firn
