#include "training/methods/l2_sp.h"

#include "training/methods/source.h"

namespace firn {
namespace {

std::vector<std::string> held(const TrainOptions& o) {
  std::vector<std::string> roles;
  for (const char c : o.method<L2Sp>().on) roles.push_back(c == 'g' ? "G" : "D");
  return roles;
}

}  // namespace

void L2Sp::visit(OptionVisitor& v) {
  v({.key = "weight",
     .flag = "--l2-sp",
     .help = "weight of the distance to the source's weights; papers do not record theirs, try 0.01 to 10",
     .group = method_group,
     .least = 0,
     .most = 1e9,
     .may_change = true},
    weight);
  v({.key = "on", .flag = "--l2-sp-on", .help = "which network is held: g, d or gd", .group = method_group},
    choice(on, "network to hold",
           std::vector<std::pair<std::string, std::string>>{{"g", "g"}, {"d", "d"}, {"gd", "gd"}}));
}

Tensor distance(const Parameters& now, const Parameters& then) {
  Tensor total;
  for (size_t i = 0; i < now.size(); ++i) {
    if (now[i].frozen()) continue;
    const Tensor d = mean(square(now[i].value() - then[i].value()));
    total = total.defined() ? total + d : d;
  }
  return total;
}

Method l2_sp_method() {
  return {.name = "l2-sp",
          .paper = "L2-SP: Li et al. 2018, arXiv 1802.01483",
          .summary = "+ weight sum over tensors of mean (w - w_source)^2, on G and D",
          .defaults = [] { return AnyOptions(L2Sp{}); },
          .check = [](const TrainOptions& o) { require_source(o, "l2-sp"); },
          .prepare =
              [](TrainState& s, const TrainOptions& o) {
                for (const std::string& role : held(o)) keep_source(s, o, role);
              },
          .extend =
              [](std::vector<Phase>& phases, const Training& t) {
                for (const std::string& role : held(t.options)) {
                  const Parameters now = t.state.role(role).network->parameters(),
                                   then = t.state.role(role + "_source").network->parameters();
                  add_term(phases, role, "l2_sp", [=, weight = t.options.method<L2Sp>().weight](const Inputs&, Rng*) {
                    return distance(now, then) * weight;
                  });
                }
              }};
}

}  // namespace firn
