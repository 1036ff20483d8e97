#include "training/methods/ewc.h"

#include "models/registry.h"
#include "training/methods/source.h"

namespace firn {

void Ewc::visit(OptionVisitor& v) {
  v({.key = "weight",
     .flag = "--ewc",
     .help = "weight of elastic weight consolidation; the paper has 5e8, for Fisher information of another scale",
     .group = method_group,
     .least = 0,
     .most = 1e15,
     .may_change = true},
    weight);
  v({.key = "samples",
     .flag = "--ewc-samples",
     .help = "generated images that Fisher information is estimated on",
     .group = method_group,
     .least = 1,
     .most = 1e6},
    samples);
}

void estimate_fisher(const Generator& g, const Discriminator& d, Generator& fisher, int samples, uint64_t seed) {
  for (const Parameter& p : fisher.parameters())
    p.value().detach().copy_from(Tensor::zeros(p.value().shape(), p.value().type(), g.device()));
  const FrozenScope passed(d.parameters());
  const Parameters trained = g.parameters().trainable();
  Rng rng{.seed = seed};
  for (int i = 0; i < samples; ++i) {
    Tensor labels;
    if (g.classes()) labels = Tensor::from(std::vector<int32_t>{int32_t(i % g.classes())}, {1}, g.device());
    const Tensor z = randn({1, g.z_dim()}, rng, g.type(), g.device());
    const Tensor logits = d(g.image(g.code(z, labels)), labels, 1, Mode::eval);
    const std::vector<Tensor> slopes = grad(softplus(-logits), trained.tensors());
    const NoGrad no_grad;
    for (size_t k = 0; k < trained.size(); ++k) {
      Tensor sum = fisher.parameters().find(trained[k].name())->value(), share = square(slopes[k]) * (1.0 / samples);
      if (const TrainedRowsPtr rows = rows_of(trained[k].value())) share = scatter_add(share, rows->index, sum.dim(0));
      sum.copy_from(sum + share);
    }
  }
}

Method ewc_method() {
  return {.name = "ewc",
          .paper = "EWC: Li et al. 2020, arXiv 2012.02780",
          .summary = "+ weight sum F (w - w_source)^2 on G, F being Fisher information on the source",
          .defaults = [] { return AnyOptions(Ewc{}); },
          .check = [](const TrainOptions& o) { require_source(o, "ewc"); },
          .prepare =
              [](TrainState& s, const TrainOptions& o) {
                keep_source(s, o, "G");
                const std::shared_ptr<Generator> fisher = make_generator(o.model, s.device());
                fisher->parameters().freeze();
                s.roles.emplace_back("G_fisher", fisher);
              },
          .begin =
              [](TrainState& s, const TrainOptions& o) {
                const Unmined as_it_came(s.generator());
                estimate_fisher(s.generator(), s.discriminator(), static_cast<Generator&>(*s.role("G_fisher").network),
                                o.method<Ewc>().samples, o.seed);
              },
          .extend =
              [](std::vector<Phase>& phases, const Training& t) {
                const Parameters now = t.state.generator().parameters(), then = source_generator(t.state).parameters(),
                                 fisher = t.state.role("G_fisher").network->parameters();
                add_term(phases, "G", "ewc", [=, weight = t.options.method<Ewc>().weight](const Inputs&, Rng*) {
                  Tensor total;
                  for (size_t i = 0; i < now.size(); ++i) {
                    if (now[i].frozen()) continue;
                    const Tensor d = sum(square(now[i].value() - then[i].value()) * fisher[i].value());
                    total = total.defined() ? total + d : d;
                  }
                  return total * weight;
                });
              }};
}

}  // namespace firn
