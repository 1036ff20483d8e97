#include "training/objectives/styled.h"

#include "base/error.h"
#include "training/step/reals.h"

namespace firn {

// Where style mixing changes from one latent to the other, as the generator takes it.
class MixingFeed : public Feed {
 public:
  MixingFeed(const StyleGenerator& g, double probability)
      : g_(g), probability_(probability), share_(Tensor::zeros({g.num_ws()}, g.type(), g.device())) {}
  void refresh(Rng& rng) override {
    const int64_t cutoff = rng.uniform() < probability_ ? rng.integer(1, g_.num_ws()) : g_.num_ws();
    g_.set_mixing(share_, static_cast<int>(cutoff));
  }
  // ws of w and, where the batch has a second latent, of that behind the cutoff.
  Tensor ws(const StyleGenerator& g, const Tensor& w, const Inputs& in) const {
    const Tensor z_mix = in["z_mix"];
    return z_mix.defined() ? g.mix(w, g.map(z_mix, in["gen_labels"]), share_) : g.broadcast(w);
  }

 private:
  const StyleGenerator& g_;
  const double probability_;
  Tensor share_;  // [num_ws]
};

StyledFakes::StyledFakes(const Training& t, int64_t n, double style_mixing)
    : g_(dynamic_cast<StyleGenerator*>(&t.state.generator())), n_(n), mixes_(style_mixing > 0) {
  if (!g_) throw ConfigError("style mixing needs a style-based generator");
  labels_ = std::make_shared<GeneratedLabels>(n, g_->classes(), t.draw_label, g_->device());
  mixing_ = std::make_shared<MixingFeed>(*g_, style_mixing);
}

std::vector<std::shared_ptr<Feed>> StyledFakes::feeds() const { return {labels_, mixing_}; }

std::vector<std::shared_ptr<Feed>> StyledFakes::feeds(Reals* reals) const {
  return {std::make_shared<RealsFeed>(reals), labels_, mixing_};
}

Inputs StyledFakes::draw(Rng& rng) const {
  Inputs in;
  in.put("z", randn({n_, g_->z_dim()}, rng, g_->type(), g_->device()));
  in.put("gen_labels", labels_->labels());
  if (mixes_) in.put("z_mix", randn({n_, g_->z_dim()}, rng, g_->type(), g_->device()));
  return in;
}

Tensor StyledFakes::ws(const Inputs& in) const {
  const Tensor w = g_->map(in["z"], in["gen_labels"]);
  g_->update_w_avg(w);
  return mixing_->ws(*g_, w, in);
}

Tensor StyledFakes::images(const Tensor& ws, Rng* rng) const { return g_->synthesize(ws, rng); }

Made StyledFakes::made(const Tensor& images, const Inputs& in, Rng* rng) const {
  return {.images = images, .by = [=, mixing = mixing_](const Generator& other) {
            const auto& g = dynamic_cast<const StyleGenerator&>(other);
            return g.synthesize(mixing->ws(g, g.map(in["z"], in["gen_labels"]), in), rng);
          }};
}

Phase::Input images_input(const TrainOptions& o, const char* name) {
  const ImageShape size = o.model.images();
  return {name, {size.height, size.width, size.channels}, Phase::Input::Kind::images};
}

Phase styled_g_main(const Training& t, double style_mixing, GanLoss loss) {
  const TrainOptions& o = t.options;
  const int64_t n = o.batch;
  const Discriminator* d = &t.state.discriminator();
  const StyledFakes fakes(t, n, style_mixing);
  const Augment augment(o, t.state);
  return {.name = "Gmain",
          .trains = "G",
          .samples = n,
          .at_once = o.batch_gpu,
          .feeds = fakes.feeds(),
          .inputs = fakes.inputs(),
          .draw =
              [=](Rng& rng) {
                Inputs in = fakes.draw(rng);
                augment.draw(in, "fakes", n, rng);
                return in;
              },
          .terms =
              [=](const Inputs& in, Rng* rng) {
                const Tensor images = fakes.images(fakes.ws(in), rng);
                const Tensor logits = (*d)(augment(images, in, "fakes"), in["gen_labels"]);
                return Terms{.total = g_loss(loss, logits),
                             .stat = "Loss/G/loss",
                             .report = {{"fake_score", "", mean(logits.detach())}},
                             .fakes = fakes.made(images, in, rng)};
              }};
}

R1 r1(const Discriminator& d, const Augment& augment, const Inputs& in) {
  const Tensor images = in["images"].require_grad(), seen = augment(images, in, "reals");
  const Tensor logits = d(seen, in["labels"]);
  const Tensor slopes = grad(logits, {images}, {.create_graph = true})[0];
  return {seen.detach(), logits, mean(sum_per_sample(square(slopes)))};
}

}  // namespace firn
