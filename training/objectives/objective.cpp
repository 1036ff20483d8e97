#include "training/objectives/objective.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "training/methods/method.h"
#include "training/objectives/sngan.h"
#include "training/objectives/stylegan.h"
#include "training/objectives/stylegan2.h"

namespace firn {
namespace {

std::vector<Objective>& table() {
  static std::vector<Objective> all = {stylegan2_objective(), sngan_objective(), stylegan_objective()};
  return all;
}

}  // namespace

Tensor g_loss(GanLoss loss, const Tensor& fake) { return loss == GanLoss::hinge ? -mean(fake) : mean(softplus(-fake)); }

Tensor d_loss(GanLoss loss, const Tensor& real, const Tensor& fake) {
  if (loss == GanLoss::hinge) return mean(relu(affine(real, -1, 1))) + mean(relu(affine(fake, 1, 1)));
  return mean(softplus(fake)) + mean(softplus(-real));
}

TextValue loss_value(GanLoss& loss) {
  return choice(loss, "loss", {{GanLoss::hinge, "hinge"}, {GanLoss::non_saturating, "ns"}});
}

const std::vector<Objective>& objectives() { return table(); }
void add_objective(Objective objective) { table().push_back(std::move(objective)); }

const Objective& objective_of(const ModelSpec& model) {
  for (const Objective& o : table())
    if (o.model == model.kind()) return o;
  throw ConfigError(fmt::format("nothing trains a model of kind '{}'", model.kind()));
}

std::vector<Phase> phases_of(const Training& training) {
  std::vector<Phase> phases = objective_of(training.options.model).phases(training);
  for (const Method* method : chosen_methods(training.options))
    if (method->extend) method->extend(phases, training);
  return phases;
}

const Preset& preset(const ModelSpec& model, std::string_view name) {
  const std::vector<Preset>& presets = objective_of(model).presets;
  std::vector<std::string> names;
  for (const Preset& p : presets) {
    if (p.name == name) return p;
    names.push_back(p.name);
  }
  throw_no_name("configuration", std::string(name), names);
}

const char* preset_help() {
  static const std::string text = [] {
    std::vector<std::string> names;
    for (const Objective& o : table())
      for (const Preset& p : o.presets) {
        const std::string name = *p.remark ? fmt::format("{} ({})", p.name, p.remark) : std::string(p.name);
        if (!std::ranges::count(names, name)) names.push_back(name);
      }
    return fmt::format("{}", fmt::join(names, ", "));
  }();
  return text.c_str();
}

}  // namespace firn
