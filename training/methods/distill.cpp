#include "training/methods/distill.h"

#include "base/error.h"
#include "models/layers/maker.h"
#include "training/methods/source.h"

namespace firn {
void Distill::visit(OptionVisitor& v) {
  v({.key = "weight",
     .flag = "--distill",
     .help =
         "weight of the distance to the source's features of the reals; papers do not record theirs, try 0.01 to 10",
     .group = method_group,
     .least = 0,
     .most = 1e9,
     .may_change = true},
    weight);
  v({.key = "at",
     .flag = "--distill-at",
     .help = "block of D whose result is compared, like b32; may be repeated [that which leaves 16x16 pixels]",
     .group = method_group},
    at);
}

Method distill_method() {
  return {
      .name = "distill",
      .paper = "feature distillation, as Mo et al. 2020 (arXiv 2002.10964) compare with it",
      .summary = "+ weight mean (f(x) - f_source(x))^2 on D, f being activations of the reals x",
      .defaults = [] { return AnyOptions(Distill{}); },
      .check =
          [](const TrainOptions& o) {
            require_source(o, "distill");
            if (o.cache_features)
              throw ConfigError("--method distill needs the images, and --cache-features keeps only features of them");
          },
      .prepare =
          [](TrainState& s, const TrainOptions& o) {
            keep_source(s, o, "D");
            if (const auto& at = o.method<Distill>().at; !at.empty()) Taps(s.discriminator(), at);
          },
      .extend =
          [](std::vector<Phase>& phases, const Training& t) {
            const Discriminator *now = &t.state.discriminator(), *then = &source_discriminator(t.state);
            const Distill& o = t.options.method<Distill>();
            const auto at = o.at.empty() ? std::vector{tap_of_rows(*now, t.options.model.images().height, 16)} : o.at;
            for (Phase& phase : phases) {
              if (phase.trains != "D" || phase.lazy) continue;
              phase.terms = [=, terms = phase.terms, weight = o.weight](const Inputs& in, Rng* rng) {
                const Taps seen(*now, at), before(*then, at);
                Terms all = terms(in, rng);
                const Shown& reals = all.reals;
                if (!reals.images.defined())
                  throw Error("distillation: this objective does not tell which images are real");
                {
                  const NoGrad constant;
                  (*then)(reals.images, reals.labels, 1, Mode::eval);
                }
                Tensor total;
                for (const std::string& name : at) {
                  const Tensor& f = seen.at(name, reals.call);
                  const Tensor difference =
                      slice(f, 0, reals.begin, reals.begin + reals.images.dim(0)) - before.at(name);
                  const Tensor d = mean(square(as_type(difference, acc_type(difference.type()))));
                  total = total.defined() ? total + d : d;
                }
                all.total = all.total + total * weight;
                all.report.push_back({"distill", "Loss/D/distill", total.detach()});
                return all;
              };
            }
          }};
}

}  // namespace firn
