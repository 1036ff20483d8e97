#include "training/objectives/stylegan.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "kernels/ops/control.h"
#include "models/stylegan/stylegan.h"
#include "training/objectives/styled.h"
#include "training/step/reals.h"

namespace firn {
namespace {

const StyleGanLoss& loss_of(const TrainOptions& o) { return o.loss.as<StyleGanLoss>(); }

// Progressive growing (Karras et al. 2018, arXiv 1710.10196) as rosinality's port has it: 8x8 for two periods, then
// each size fades in for one and stays for another. Networks are as large as they will be from the start.
class GrowthFeed : public Feed {
 public:
  explicit GrowthFeed(const Training& t)
      : period_(loss_of(t.options).growth_kimg * 1000),
        last_(std::log2(t.options.model.images().height) - 2),
        images_(t.state.counters.images),
        pixels_(Tensor::full({}, 1, t.options.model.type(), t.state.device())) {
    for (const char* role : {"G", "D"})
      if (const Parameter* p = t.state.role(role).network->parameters().find("growth")) growths_.push_back(*p);
  }
  void refresh(Rng&) override {
    const double growth = growth_now();
    for (Parameter& p : growths_) set(p.value(), growth);
    set(pixels_, std::pow(4, last_ - std::ceil(growth)));
  }
  // Of the images that D sees, those that one pixel of the size that has been reached is: R1 is of such pixels.
  const Tensor& pixels() const { return pixels_; }

 private:
  double growth_now() const {
    if (period_ == 0) return last_;
    const double stage = std::floor(double(images_) / (2 * period_)), shown = double(images_) - stage * 2 * period_;
    return stage == 0 ? 1 : std::min(last_, stage + std::min(1.0, (shown + 1) / period_));
  }
  static void set(Tensor& scalar, double value) {
    dispatch_acc(scalar.type(), [&](auto tag) {
      const decltype(tag) values[1] = {static_cast<decltype(tag)>(value)};
      kernels::set_values<decltype(tag)>(scalar.stream(), scalar.mutable_data(), values);
    });
  }
  const double period_, last_;  // images; blocks behind the first
  const int64_t& images_;
  Tensor pixels_;  // []
  std::vector<Parameter> growths_;
};

Terms d_main(const StyledFakes& from, const Discriminator& d, const Augment& augment, const StyleGanLoss& o,
             const Tensor& pixels, const Inputs& in, Rng* rng) {
  const bool cut = in.has("features");
  R1 reals;
  if (o.r1_gamma > 0) {
    reals = r1(d, augment, in);
  } else {
    if (!cut) reals.images = augment(in["images"], in, "reals");
    reals.logits = cut ? d.logits(in["features"], {}) : d(reals.images);
  }
  const auto [made, fakes] = [&] {
    const NoGrad scope;
    const Tensor images = from.images(from.ws(in), rng);
    return std::pair(images, augment(images, in, "fakes"));
  }();
  const Tensor fake = cut ? d.logits(d.features(fakes), {}) : d(fakes);
  Terms terms{.total = d_loss(o.loss, reals.logits, fake),
              .stat = "Loss/D/loss",
              .report = {{"real_score", "Loss/scores/real", mean(reals.logits.detach())},
                         {"fake_score", "Loss/scores/fake", mean(fake.detach())}},
              .reals = {.images = reals.images},
              .fakes = {.images = made, .call = 1}};
  if (o.r1_gamma > 0) {
    const Tensor penalty = reals.penalty * pixels;
    terms.total = terms.total + penalty * (o.r1_gamma / 2);
    terms.report.push_back({"regularizer", "Loss/r1_penalty", penalty.detach()});
  }
  augment.note(reals.logits, terms.report);
  return terms;
}

std::vector<Phase> phases(const Training& t) {
  const TrainOptions& o = t.options;
  const StyleGanLoss& loss = loss_of(o);
  const Discriminator* d = &t.state.discriminator();
  const int64_t n = o.batch;
  const StyledFakes fakes(t, n, loss.style_mixing);
  const Augment augment(o, t.state);
  const auto growth = std::make_shared<GrowthFeed>(t);
  std::vector<std::shared_ptr<Feed>> feeds = fakes.feeds(t.reals);
  feeds.insert(feeds.begin(), growth);  // of both phases, for D's comes first
  return {{.name = "Dmain",
           .trains = "D",
           .samples = n,
           .at_once = o.batch_gpu,
           .feeds = feeds,
           .inputs = fakes.inputs(images_input(o, "images")),
           .draw =
               [=, reals = t.reals](Rng& rng) {
                 Inputs in = fakes.draw(rng);
                 in.put("features", reals->features());
                 if (!reals->features().defined()) in.put("images", reals->images());
                 augment.draw(in, "fakes", n, rng);
                 augment.draw(in, "reals", n, rng);
                 return in;
               },
           .terms = [=, &loss](const Inputs& in,
                               Rng* rng) { return d_main(fakes, *d, augment, loss, growth->pixels(), in, rng); }},
          styled_g_main(t, loss.style_mixing, loss.loss)};
}

void check(const TrainOptions& o) {
  if (o.cache_features && loss_of(o).r1_gamma > 0)
    throw ConfigError(
        "--cache-features has no use where R1 asks for the images at each step; leave it out, or give "
        "--gamma 0");
}

// What the average keeps at each iteration: 0.999, whatever the batch.
void settle(TrainOptions& o, const Overlay& given) {
  if (loss_of(o).growth_kimg > 0) o.model.as<StyleGanOptions>().growing = true;
  if (!given.has("--ema-kimg")) o.ema_kimg = o.batch * std::log(0.5) / std::log(0.999) / 1000;
}

std::string describe(const TrainOptions& o) {
  const StyleGanLoss& l = loss_of(o);
  return fmt::format("gamma {:.4g} at each step", l.r1_gamma) +
         (l.growth_kimg > 0 ? fmt::format(", growing each {:g} kimg", 2 * l.growth_kimg) : "");
}

// FreezeD's 50,000 iterations, of 8 images.
void automatic(TrainOptions& o, int) {
  o.batch = o.batch_gpu = 8;
  o.lr = 0.001;
  if (!o.init.empty()) o.kimg = 400;
}

// The rates and batches of each size that the port calls --sched.
void scheduled(TrainOptions& o, int size) {
  automatic(o, size);
  if (size <= 64) o.batch = o.batch_gpu = 512 / size;
  if (size >= 128) o.lr = size == 128 ? 0.0015 : size == 256 ? 0.002 : 0.003;
}

// For trying things on a CPU.
void small(TrainOptions& o, int size) {
  automatic(o, size);
  StyleGanOptions& m = o.model.as<StyleGanOptions>();
  m.channel_base /= 8;
  m.channel_max = m.z_dim = 128;
  o.kimg = 200;
}

}  // namespace

void StyleGanLoss::visit(OptionVisitor& v) {
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
  v({.key = "style_mixing",
     .flag = "--mixing",
     .help = "probability of style mixing",
     .group = group,
     .least = 0,
     .most = 1,
     .may_change = true},
    style_mixing);
  v({.key = "growth_kimg",
     .flag = "--growth-kimg",
     .help =
         "progressive growing: thousands of images that each size from 8x8 on is faded in for, and again stays for, "
         "published 600; 0: none",
     .group = group,
     .least = 0,
     .most = 1e9},
    growth_kimg);
}

Objective stylegan_objective() {
  return {
      .model = std::string(StyleGanOptions::kind),
      .presets = {{"auto", "", automatic}, {"small", "for CPUs", small}, {"sched", "StyleGAN's by size", scheduled}},
      .defaults = [] { return AnyOptions(StyleGanLoss{}); },
      .settle = settle,
      .check = check,
      .describe = describe,
      .adam =
          [](const TrainOptions& o, std::string_view) {
            return AdamOptions{.lr = o.lr, .beta1 = o.beta1, .beta2 = o.beta2, .lr_shares = {{"style.*", 0.01}}};
          },
      .phases = phases,
      .loss = [](const TrainOptions& o) { return loss_of(o).loss; },
      .steadier = "a smaller --lr or a larger --gamma"};
}

}  // namespace firn
