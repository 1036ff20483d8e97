#include "training/methods/minegan.h"

#include "base/error.h"
#include "models/layers/miner.h"
#include "training/methods/source.h"

namespace firn {

void MineGan::visit(OptionVisitor& v) {
  v({.key = "steps",
     .flag = "--miner-steps",
     .help = "iterations in which the miner trains and G does not; 0: G trains from the start",
     .group = method_group,
     .least = 0,
     .most = 1e9},
    steps);
}

Method minegan_method() {
  return {
      .name = "minegan",
      .paper = "MineGAN: Wang et al. 2020, arXiv 1912.05270",
      .summary = "a network of two layers maps latents to better ones: alone at first (--miner-steps N), then with G",
      .legacy = true,
      .defaults = [] { return AnyOptions(MineGan{}); },
      .check =
          [](const TrainOptions& o) {
            require_source(o, "minegan");
            if (o.legacy && !objective_of(o.model).averages(o))
              throw ConfigError("--legacy samples G's average without the miner: give --average");
          },
      .prepare =
          [](TrainState& s, const TrainOptions& o) {
            const Generator& g = s.generator();
            const auto make = [&] { return std::make_shared<Miner>(g.z_dim(), o.seed, g.type(), g.device()); };
            Role miner("miner", make());
            s.generator().mine_with(std::static_pointer_cast<Miner>(miner.network));
            if (auto* average = static_cast<Generator*>(s.role("G").average.get()); average && !o.legacy) {
              miner.average = make();
              average->mine_with(std::static_pointer_cast<Miner>(miner.average));
            }
            s.roles.push_back(std::move(miner));
            s.roles.back().train(objective_of(o.model).adam(o, "G"));
          },
      .extend =
          [](std::vector<Phase>& phases, const Training& t) {
            const int64_t steps = t.options.legacy ? INT64_MAX : t.options.method<MineGan>().steps;
            for (size_t i = 0; i < phases.size(); ++i) {
              if (phases[i].trains != "G") continue;
              Phase alone = phases[i];
              phases[i].beside.push_back("miner");
              phases[i].from = steps;
              if (alone.lazy || steps == 0) continue;
              alone.name += "Miner";
              alone.trains = "miner";
              alone.until = steps;
              phases.insert(phases.begin() + std::ptrdiff_t(i++), std::move(alone));
            }
          }};
}

}  // namespace firn
