#include "training/methods/feature_matching.h"

#include <algorithm>

#include "base/error.h"
#include "models/layers/maker.h"
#include "training/methods/source.h"

namespace firn {

void FeatureMatching::visit(OptionVisitor& v) {
  v({.key = "weight",
     .flag = "--match",
     .help = "weight of the distance of G's activations to the source's of the same latents [0.05]",
     .group = method_group,
     .least = 0,
     .most = 1e9,
     .may_change = true},
    weight);
  v({.key = "at",
     .flag = "--match-at",
     .help = "block of G whose result is compared, like b32; may be repeated [all]",
     .group = method_group},
    at);
}

Method feature_matching_method() {
  return {.name = "feature-matching",
          .paper = "feature matching: Lee et al. 2022, arXiv 2204.14079",
          .summary = "+ weight mean over blocks of mean (f - f_source)^2 on G, f being its activations",
          .defaults = [] { return AnyOptions(FeatureMatching{}); },
          .check =
              [](const TrainOptions& o) {
                require_source(o, "feature-matching");
                if (std::ranges::count(o.method_names, "glo"))
                  throw ConfigError("--method feature-matching compares images of drawn latents, and glo makes none");
              },
          .prepare =
              [](TrainState& s, const TrainOptions& o) {
                keep_source(s, o, "G");
                Taps(s.generator(), o.method<FeatureMatching>().at);
              },
          .extend =
              [](std::vector<Phase>& phases, const Training& t) {
                const Generator *now = &t.state.generator(), *then = &source_generator(t.state);
                const FeatureMatching& o = t.options.method<FeatureMatching>();
                const auto at = o.at.empty() ? now->tap_names() : o.at;
                for (Phase& phase : phases) {
                  if (phase.trains != "G" || phase.lazy) continue;
                  phase.terms = [=, terms = phase.terms, weight = o.weight](const Inputs& in, Rng* rng) {
                    const SourceTaps both(*now, *then, at);
                    Terms all = terms(in, rng);
                    Tensor total;
                    for (const auto& [f, f0] : both.of(all.fakes)) {
                      const Tensor d = mean(square(as_type(f - f0, acc_type(f.type()))));
                      total = total.defined() ? total + d : d;
                    }
                    total = total * (1.0 / double(at.size()));
                    all.total = all.total + total * weight;
                    all.report.push_back({"match", "Loss/G/match", total.detach()});
                    return all;
                  };
                }
              }};
}

}  // namespace firn
