#include "training/methods/method.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "training/methods/adaptation_aware.h"
#include "training/methods/cdc.h"
#include "training/methods/distill.h"
#include "training/methods/ewc.h"
#include "training/methods/feature_matching.h"
#include "training/methods/freeze.h"
#include "training/methods/glo.h"
#include "training/methods/l2_sp.h"
#include "training/methods/minegan.h"
#include "training/methods/projected.h"
#include "training/methods/scale_shift.h"
#include "training/methods/source.h"
#include "training/methods/vision_aided.h"

namespace firn {
namespace {

std::vector<Method>& table() {
  static std::vector<Method> all = {
      {.name = "finetune", .paper = "Wang et al. 2018, arXiv 1805.01677", .summary = "everything trains, without more"},
      projected_method(),  // replaces D, which others then change
      freeze_d_method(),
      freeze_g_method(),
      partial_method(),
      fisher_method(),  // by what --freeze then names
      freeze_method(),
      adaptation_aware_method(),  // within what these leave
      scale_shift_method(),
      glo_method(),  // replaces the phases, which others then change
      minegan_method(),
      cdc_method(),  // which loss counts changes from iteration to iteration; what is behind it always does
      vision_aided_method(),
      l2_sp_method(),
      distill_method(),
      feature_matching_method(),
      ewc_method()};
  return all;
}

}  // namespace

bool Method::chosen(const TrainOptions& o) const {
  return std::ranges::count(o.method_names, name) > 0 || also_chosen(o);
}

const std::vector<Method>& methods() { return table(); }
void add_method(Method method) { table().push_back(method); }

std::string grounds_of_methods(const TrainOptions& options) {
  std::string all;
  for (const Method* method : chosen_methods(options))
    if (const std::string own = method->grounds ? method->grounds(options) : std::string(); !own.empty())
      all += (all.empty() ? "" : "; ") + own;
  return all;
}

void choose_by_methods(TrainState& state, TrainOptions& options, const std::shared_ptr<const Dataset>& data) {
  for (const Method* method : chosen_methods(options))
    if (method->choose) {
      method->choose(state, options, data);
      state.make_optimizers(options);
    }
}

std::vector<const Method*> chosen_methods(const TrainOptions& o) {
  std::vector<const Method*> chosen;
  for (const Method& method : methods())
    if (method.chosen(o)) chosen.push_back(&method);
  return chosen;
}

bool give_model(ModelSpec& model, std::string_view key, bool what) {
  bool given = false;
  for_each_option(model, [&](const Option& option, const OptionValue& value) {
    if (option.key != key) return;
    *std::get<bool*>(value) = what;
    given = true;
  });
  return given;
}

void settle_methods(TrainOptions& o, const Overlay& given) {
  bool known = !o.legacy;
  for (const Method& method : methods()) {
    if (method.chosen(o)) {
      known |= method.legacy;
      if (method.settle) method.settle(o, given);
    } else if (method.defaults) {
      AnyOptions own = method.defaults();
      for_each_option(own, [&](const Option& option, const OptionValue&) {
        if (given.has(option)) throw ConfigError(fmt::format("{} goes with --method {}", option.name(), method.name));
      });
    }
  }
  if (!known) throw ConfigError("--legacy goes with --method scale-shift, minegan or glo");
}

void begin_methods(TrainState& state, const TrainOptions& options) {
  fill_sources(state);
  for (const Method* method : chosen_methods(options))
    if (method->begin) method->begin(state, options);
}

std::string method_help() {
  std::string text = "Methods of adapting the network of --init (--method NAME, or several: NAME+NAME)\n";
  for (const Method& method : methods())
    text += fmt::format("  {:<16} {}\n{}", method.name, method.summary,
                        *method.paper ? fmt::format("{:19}{}\n", "", method.paper) : "");
  return text;
}

}  // namespace firn
