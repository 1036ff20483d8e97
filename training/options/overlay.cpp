#include "training/options/overlay.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "training/methods/method.h"

namespace firn {

Overlay::Overlay(std::initializer_list<std::pair<std::string, std::string>> given) {
  for (const auto& [flag, text] : given) give(flag, {text});
}

const std::vector<std::string>* Overlay::texts(const Option& option) const {
  if (!*option.flag) return nullptr;
  const auto it = given_.find(option.name());
  return it == given_.end() ? nullptr : &it->second;
}

std::optional<std::string> Overlay::take(const std::string& flag) {
  const auto it = given_.find(flag);
  if (it == given_.end() || it->second.empty()) return std::nullopt;
  const std::string text = it->second.back();
  given_.erase(it);
  return text;
}

void Overlay::apply(TrainOptions& options) const {
  std::set<std::string> used;
  for_each_option(options, [&](const Option& option, const OptionValue& value) {
    const auto* text = texts(option);
    if (!text) return;
    if (!used.insert(option.name()).second)
      throw ConfigError(
          fmt::format("two options are called {}: a model or a method has to name its own another way", option.name()));
    set_from_text(option, value, *text);
  });
  for (const auto& [flag, text] : given_)
    if (!used.contains(flag))
      throw ConfigError(fmt::format("{} means nothing to {}", flag, model(options.model.kind()).title));
}

namespace {

// What is given goes with the augmentation that there is.
void require_of_augmentation(const AugmentOptions& o, const Overlay& given) {
  const auto require = [&](const char* flag, bool good, const char* with) {
    if (given.has(flag) && !good) throw ConfigError(fmt::format("{} goes with --aug {}, not {}", flag, with, o.aug));
  };
  require("-p", o.aug == "fixed", "fixed");
  require("--target", o.adapts(), "ada");
  require("--ada-kimg", o.adapts(), "ada");
  require("--augpipe", o.by_probability(), "ada or fixed");
}

}  // namespace

void Overlay::apply_resumed(TrainOptions& options) const {
  TrainOptions before = options;
  apply(options);
  require_of_augmentation(options.augment, *this);
  std::map<std::string, std::string> values;
  for_each_option(before, [&](const Option& o, const OptionValue& v) { values[o.name()] = to_text(v); });
  for_each_option(options, [&](const Option& option, const OptionValue& value) {
    if (texts(option) && !option.may_change && to_text(value) != values[option.name()])
      throw ConfigError(fmt::format("{} differs from the run that --resume goes on with; start a new run with --init",
                                    option.name()));
  });
}

namespace {

void settle_augmentation(TrainOptions& o, const Overlay& given) {
  require_of_augmentation(o.augment, given);
  if (o.augment.aug == "fixed" && !given.has("-p"))
    throw ConfigError("--aug fixed needs -p, a probability from 0 to 1");
  if (!given.has("--ada-kimg")) o.augment.ada_kimg = o.init.empty() ? 500 : 100;
}

// A run of any length leaves something to choose from: 10 to 20 evaluations, sheets and snapshots.
void settle_schedule(TrainOptions& o, const Overlay& given) {
  if (!given.has("--kimg-per-tick")) o.kimg_per_tick = o.kimg > 0 ? std::min(4.0, o.kimg / 16) : 4;
  const double ticks = o.kimg / o.kimg_per_tick;
  if (!given.has("--snap")) o.snap = std::max(1, int(std::min(1e9, std::ceil(ticks / 20))));
  const int every = o.metrics.every > 0 ? o.metrics.every : o.snap;
  if (!given.has("--metrics")) o.metrics.names = default_metrics(o.metrics, every * o.kimg_per_tick * 1000);
}

}  // namespace

std::string configure(TrainOptions& o, const ImageShape& images, int classes, const Overlay& given,
                      const SourceModel* source, int processes) {
  const ModelBasics before = o.model.basics();
  o.model = model(o.model.kind()).defaults();
  o.loss = objective_of(o.model).defaults();
  ModelBasics b = o.model.basics();
  b.images = images;
  b.classes = classes;
  b.activation_type = before.activation_type;
  b.type = before.type;
  o.model.set(b);
  preset(o.model, o.cfg).fill(o, std::max(images.width, images.height));
  if (!o.init.empty()) o.ema_ramp = -1;
  const int batch_gpu = o.batch_gpu;
  std::string taken;
  if (source) taken = take_shape(o.model, *source, [&](const Option& option) { return given.has(option); });
  given.apply(o);
  o.model = o.model.seeded(o.seed);
  // A batch of another size keeps the configuration's micro-batch where that divides it.
  if (!given.has("--batch-gpu")) {
    o.batch_gpu = o.batch % batch_gpu == 0 ? std::min(batch_gpu, o.batch) : o.batch;
    while (processes > 1 && o.batch_gpu > 1 && (o.batch_gpu * processes > o.batch || o.batch % o.batch_gpu))
      --o.batch_gpu;
  }
  objective_of(o.model).settle(o, given);
  settle_augmentation(o, given);
  settle_methods(o, given);
  settle_schedule(o, given);
  return taken;
}

std::string configure(TrainOptions& o, const Dataset& data, const Overlay& given, const SourceModel* source,
                      int processes) {
  o.dataset_size = data.size();
  o.class_counts = o.cond ? data.class_counts() : std::vector<int64_t>{};
  o.fingerprint = data.fingerprint();
  std::string taken = configure(o, {data.height(), data.width(), data.channels()}, o.cond ? data.num_classes() : 0,
                                given, source, processes);
  o.data.channels = data.channels();  // what the set decided, it decides once
  if (o.data.resize) std::tie(o.data.width, o.data.height) = std::pair(data.width(), data.height());
  return taken;
}

}  // namespace firn
