#include "training/methods/adaptation_aware.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "training/methods/fisher.h"
#include "training/methods/source.h"
#include "training/step/iteration.h"

namespace firn {
namespace {

struct Modulated {
  FilterLayer layer;
  Parameter out, in;
};

std::vector<Modulated> modulated(const TrainState& s, const std::string& role) {
  const Parameters& all = s.role(role).network->parameters();
  std::vector<Modulated> found;
  for (const FilterLayer& layer : FilterPattern(role + ":*").layers(all))
    if (const Parameter* out = all.find(layer.name + ".modulate_out"))
      found.push_back({layer, *out, *all.find(layer.name + ".modulate_in")});
  return found;
}

// What is kept is modulated and does not train, the other way round with the rest. Before that is known everything is
// modulated, but for what other options freeze.
void mask(TrainState& s, const AdaptationAware& o) {
  for (const char* role : {"G", "D"}) {
    std::map<std::string, std::vector<int32_t>> kept;
    for (const std::string& text : o.kept)
      if (const FilterPattern pattern(text); pattern.of_d == (*role == 'D'))
        for (const FilterLayer& layer : pattern.layers(s.role(role).network->parameters()))
          kept[layer.name] = pattern.listed(layer);
    for (Modulated& m : modulated(s, role)) {
      if (o.kept.empty()) {
        if (m.layer.weight.rows()) m.out.train_rows(m.layer.weight.rows()->numbers);
        if (!m.layer.weight.frozen()) continue;
      }
      const std::vector<int32_t>& numbers = kept[m.layer.name];
      m.out.train_rows(numbers);
      if (numbers.empty()) m.in.set_frozen(true);
      m.layer.freeze(numbers);
    }
  }
}

// The source, adapted for a while by its modulation alone.
std::unique_ptr<TrainState> probed(const TrainState& source, const TrainOptions& o,
                                   const std::shared_ptr<const Dataset>& data) {
  auto state = std::make_unique<TrainState>(o, source.device());
  for (const char* name : {"G", "D"}) {
    Role& role = state->role(name);
    update_average(role.network->parameters(), source.role(name).network->parameters(), 0);
    if (role.average) update_average(role.average->parameters(), source.role(name).average->parameters(), 0);
    for (const Parameter& p : role.network->parameters())
      if (!p.addition()) Parameter(p).set_frozen(true);
  }
  state->make_optimizers(o);
  Reals reals(o, *state, data, {});
  Iteration iteration(o, *state, data.get(), reals);
  while (double(state->counters.images) < 1000 * o.method<AdaptationAware>().probe_kimg) iteration.run();
  return state;
}

// Of every filter that is modulated: what its own factor has, and the mean over those of its inputs.
std::vector<double> information_of(TrainState& s, const TrainOptions& o, const std::string& role,
                                   const std::shared_ptr<const Dataset>& data) {
  const std::vector<Tensor> squares = fisher_information(s, o, role, data, o.freeze.fisher_batches);
  const Parameters trained = s.role(role).network->parameters().trainable();
  std::map<std::string, std::vector<double>> of;
  for (size_t i = 0; i < trained.size(); ++i) of[trained[i].name()] = squares[i].to_doubles();
  std::vector<double> all;
  for (const Modulated& m : modulated(s, role)) {
    if (m.out.frozen()) continue;
    const std::vector<double>& in = of.at(m.in.name());
    const double mean = std::accumulate(in.begin(), in.end(), 0.0) / double(in.size());
    for (const double out : of.at(m.out.name())) all.push_back(out + mean);
  }
  if (!std::ranges::all_of(all, [](double v) { return std::isfinite(v); }))
    throw Error(
        fmt::format("--method adaptation-aware: probing diverged in {}; try a smaller --lr or --probe-kimg", role));
  return all;
}

void choose(TrainState& s, TrainOptions& o, const std::shared_ptr<const Dataset>& data) {
  AdaptationAware& own = o.method<AdaptationAware>();
  mask(s, own);  // what other methods have chosen to freeze is not modulated
  TrainOptions plain = o;
  plain.method_names = {"adaptation-aware"};
  plain.cache_features = false;
  const std::unique_ptr<TrainState> probe = probed(s, plain, data);
  for (const char* role : {"G", "D"}) {
    const std::vector<size_t> most = most_informative(information_of(*probe, plain, role, data), own.quantile);
    auto next = most.begin();
    size_t before = 0;  // filters of the layers before
    for (const Modulated& m : modulated(s, role)) {
      if (m.out.frozen()) continue;
      const size_t filters = m.out.rows() ? m.out.rows()->numbers.size() : size_t(m.layer.filters());
      std::vector<int32_t> numbers;
      for (; next != most.end() && *next < before + filters; ++next)
        numbers.push_back(m.out.rows() ? m.out.rows()->numbers[*next - before] : int32_t(*next - before));
      before += filters;
      if (!numbers.empty()) own.kept.push_back(to_pattern(*role == 'D', m.layer, numbers));
    }
  }
  mask(s, own);
}

}  // namespace

std::vector<size_t> most_informative(const std::vector<double>& information, double quantile) {
  std::vector<size_t> order(information.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater(), [&](size_t i) { return information[i]; });
  const double share = 1 - quantile / 100;
  order.resize(std::min(order.size(), std::max<size_t>(1, size_t(std::lround(share * double(order.size()))))));
  std::ranges::sort(order);
  return order;
}

void AdaptationAware::visit(OptionVisitor& v) {
  v({.key = "probe_kimg",
     .flag = "--probe-kimg",
     .help = "thousands of images that modulation alone trains on, before it is chosen which filters it is kept for",
     .group = method_group,
     .least = 0,
     .most = 1e6},
    probe_kimg);
  v({.key = "quantile",
     .flag = "--keep-above",
     .help = "of each network's filters, those whose Fisher information lies above this quantile (percent) are kept: "
             "frozen and modulated",
     .group = method_group,
     .least = 0,
     .most = 100},
    quantile);
  v({.key = "kept"}, kept);
}

Method adaptation_aware_method() {
  return {.name = "adaptation-aware",
          .paper = "AdAM: Zhao et al. 2022, arXiv 2210.16559",
          .summary = "filters that matter most to the adaptation are only modulated, by W (1 + out x in); others train",
          .defaults = [] { return AnyOptions(AdaptationAware{}); },
          .settle =
              [](TrainOptions& o, const Overlay&) {
                if (!give_model(o.model, "modulated"))
                  throw ConfigError(
                      fmt::format("--method adaptation-aware: the weights of {} are not modulated", o.model.kind()));
              },
          .check =
              [](const TrainOptions& o) {
                require_source(o, "adaptation-aware");
                if (std::ranges::count(o.method_names, "glo"))
                  throw ConfigError("--method adaptation-aware probes what matters to G and D, and glo has no D");
              },
          .prepare = [](TrainState& s, const TrainOptions& o) { mask(s, o.method<AdaptationAware>()); },
          .choose = choose,
          .grounds =
              [](const TrainOptions& o) {
                return fmt::format("modulation for {:g} kimg, and its {}", o.method<AdaptationAware>().probe_kimg,
                                   grounds_of_fisher_information(o));
              }};
}

}  // namespace firn
