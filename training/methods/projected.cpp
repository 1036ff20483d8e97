#include "training/methods/projected.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "base/error.h"
#include "models/features/projected.h"
#include "training/methods/judges.h"
#include "training/methods/l2_sp.h"

namespace firn {
namespace {

const Projected* options_of(const TrainOptions& o) {
  const auto own = std::ranges::find(o.methods, Projected::kind, &AnyOptions::kind);
  return own == o.methods.end() ? nullptr : &own->as<Projected>();
}

// As published: hinge loss and nothing beside it, and images that are augmented.
void follow(TrainOptions& o, const Overlay& given) {
  static const std::map<std::string_view, std::string> published{
      {"loss", "hinge"}, {"r1_gamma", "0"}, {"pl_weight", "0"}, {"style_mixing", "0"}};
  for_each_option(o.loss, [&](const Option& option, const OptionValue& value) {
    const auto own = published.find(option.key);
    if (own != published.end() && !given.has(option)) set_from_text(option, value, {own->second});
  });
  if (!given.has("--aug") && !o.cache_features) o.augment.aug = "diffaug-color-translation-cutout";
}

void check(const TrainOptions& o) {
  const Projected& p = o.method<Projected>();
  check_judge_rows(p.network, p.size, "--d-size");
  for (const char* other : {"glo", "distill", "cdc", "ewc", "fisher", "adaptation-aware"})
    if (std::ranges::count(o.method_names, other))
      throw ConfigError(fmt::format("--d-kind projected leaves nothing of the D that --method {} needs", other));
  const bool held = std::ranges::count(o.method_names, "l2-sp") && o.method<L2Sp>().on != "g";
  if (held) throw ConfigError("--d-kind projected leaves nothing of D to hold: give --l2-sp-on g");
  const auto of_d = [](const std::string& pattern) { return pattern.starts_with("D:"); };
  if (!filters_to_choose(o.freeze).empty())
    throw ConfigError("--d-kind projected: its D has learnt nothing that Fisher information could be of");
  if (o.freeze.blocks || o.freeze.layers || std::ranges::any_of(o.freeze.patterns, of_d))
    throw ConfigError("--d-kind projected has no layers to freeze: leave out --freeze-d, --freezed and --freeze D:");
  AnyOptions loss = o.loss;
  for_each_option(loss, [](const Option& option, const OptionValue& value) {
    if (std::string_view(option.key) == "r1_gamma" && to_text(value) != "0")
      throw ConfigError(
          "--d-kind projected goes without R1, whose second derivatives would pass the frozen network: "
          "give --gamma 0");
  });
  if (const int channels = o.model.images().channels; channels != 1 && channels != 3)
    throw ConfigError("--d-kind projected needs RGB or gray images");
}

}  // namespace

void Projected::visit(OptionVisitor& v) {
  v({.key = "d",
     .flag = "--d-kind",
     .help = "own: the model's; projected: one on maps of a frozen network",
     .group = method_group},
    choice(d, "kind of D", {{DKind::own, "own"}, {DKind::projected, "projected"}}));
  v({.key = "network",
     .flag = "--d-network",
     .help = "whose maps a projected D judges: one of those of --features",
     .group = method_group},
    network);
  v({.key = "hash"}, hash);
  v({.key = "size",
     .flag = "--d-size",
     .help =
         "rows and columns of the images that its network is given, 0: as many as that was made for; fewer cost less",
     .group = method_group,
     .least = 0,
     .most = 1024},
    size);
  v({.key = "width",
     .flag = "--d-width",
     .help = "channels of the largest map that a projected D judges; all others are in proportion",
     .group = method_group,
     .least = 4,
     .most = 256},
    width);
}

Method projected_method() {
  return {.name = "projected",
          .paper = "projected GAN: Sauer et al. 2021, arXiv 2111.01007",
          .summary = "another D, on maps of a frozen network (--d-kind projected)",
          .also_chosen =
              [](const TrainOptions& o) {
                const Projected* own = options_of(o);
                return own && own->d == DKind::projected;
              },
          .defaults = [] { return AnyOptions(Projected{}); },
          .settle =
              [](TrainOptions& o, const Overlay& given) {
                auto& p = o.method<Projected>();
                p.d = DKind::projected;
                follow(o, given);
                check(o);
                p.hash = judge_weights(o, p.network).sha256;
              },
          .check = check,
          .prepare =
              [](TrainState& s, const TrainOptions& o) {
                const auto& p = o.method<Projected>();
                Role& d = s.role("D");
                d.network = std::make_shared<ProjectedDiscriminator>(
                    load_judge(o, judge_weights(o, p.network, p.hash), s.device()),
                    ProjectedDiscriminator::Options{.images = o.model.images(),
                                                    .size = judge_rows(p.network, p.size),
                                                    .width = p.width,
                                                    .classes = o.model.basics().classes,
                                                    .type = s.generator().type()},
                    seed_for(o.seed, SeedUse::discriminator));
                d.of_method = true;
                d.in_files = "D_projected";
              }};
}

}  // namespace firn
