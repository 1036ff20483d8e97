#include "training/run/progression.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "io/files.h"
#include "io/json.h"
#include "training/methods/judges.h"
#include "training/methods/source.h"
#include "training/methods/vision_aided.h"
#include "training/run/run_folder.h"
#include "training/state/snapshot.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

// As published, but for the repeats where images are few.
constexpr int64_t kMostReals = 10000, kFewReals = 100;
constexpr int kRepeats = 3, kRepeatsOfFew = 10;
constexpr double kSmoothedFrom = 0.9;  // accuracy, where augmentation is not DiffAugment

fs::path record_path(const fs::path& dir) { return dir / "probe.json"; }

void write_record(const fs::path& dir, const std::vector<Joining>& joinings) {
  nlohmann::json record = nlohmann::json::array();
  for (const Joining& j : joinings) {
    nlohmann::json probed = nlohmann::json::array();
    for (const Probed& p : j.probed)
      probed.push_back({{"network", p.network},
                        {"accuracy", p.found.accuracy},
                        {"deviation", p.found.deviation},
                        {"chosen", &p == &best_of(j.probed)}});
    record.push_back({{"images", j.images}, {"of", j.of}, {"networks", probed}});
  }
  write_text(record_path(dir), nlohmann::json{{"stages", record}}.dump(2) + "\n");
}

std::vector<Joining> read_record(const fs::path& dir) {
  if (!fs::exists(record_path(dir))) return {};
  const std::string name = record_path(dir).string();
  const nlohmann::json record = parse_json(read_text(name), name, {.depth = 6, .values = 1 << 16});
  try {
    std::vector<Joining> joinings;
    for (const nlohmann::json& j : record.at("stages")) {
      Joining& joining = joinings.emplace_back(Joining{.images = j.at("images"), .of = j.at("of"), .probed = {}});
      for (const nlohmann::json& p : j.at("networks"))
        joining.probed.push_back({p.at("network"), {.accuracy = p.at("accuracy"), .deviation = p.at("deviation")}});
    }
    return joinings;
  } catch (const nlohmann::json::exception& e) {
    throw IoError(fmt::format("{}: {}", name, e.what()));
  }
}

// What a judge's network makes of the first images of a set, pooled, as its head is given them.
Matrix pooled_features(const VisionDiscriminator& judge, const ImageSet& images, int64_t count, DType type) {
  constexpr int64_t at_once = 16;
  const NoGrad no_grad;
  std::vector<float> found, waiting;
  int64_t rows = 0;
  Shape shape;
  const auto flush = [&] {
    if (waiting.empty()) return;
    shape[0] = std::ssize(waiting) / (shape[1] * shape[2] * shape[3]);
    const Tensor batch = Tensor::from(std::span<const float>(waiting), shape, type, judge.device());
    for (const float v : judge.levels(batch).pooled.to_floats()) found.push_back(v);
    rows += shape[0];
    waiting.clear();
  };
  images.read(count, [&](std::span<const MeasuredImage> some) {
    for (const auto& [image, label, item] : some) {
      shape = {0, image.height, image.width, image.channels};
      for (const uint8_t v : image.pixels) waiting.push_back(float(v) / 127.5f - 1);
      if (std::ssize(waiting) == at_once * std::ssize(image.pixels)) flush();
    }
  });
  flush();
  if (rows == 0) throw IoError(fmt::format("{}: there is no image to probe networks with", images.name()));
  return {rows, std::ssize(found) / rows, found};
}

class Progression {
 public:
  Progression(TrainOptions& options, std::optional<TrainState>& state, std::shared_ptr<const Dataset> data, RunLog& log,
              const RunSettings& run)
      : options_(options),
        vision_(options.method<VisionAided>()),
        state_(state),
        device_(state->device()),
        data_(std::move(data)),
        log_(log),
        run_(run),
        console_(log, run.dir) {}

  Outcome run() {
    for (;;) {
      const bool last = joined() == vision_.progressive;
      const int64_t end = vision_.stage_end(joined());
      if (end > 0 && train(last ? INT64_MAX : end) == Outcome::stopped) return Outcome::stopped;
      if (last || state_->counters.images < end) return Outcome::finished;
      try {
        join();
      } catch (const LoadingStopped&) {
        return Outcome::stopped;
      } catch (const std::exception& e) {
        console_.note(e);
        throw;
      }
    }
  }

 private:
  int joined() const { return int(vision_.names().size()); }

  Outcome train(int64_t end) {
    RunSettings settings = run_;
    settings.in_place = fs::exists(run_.dir / "fakes-init.png");
    settings.stage = {.begin = vision_.stage_began, .end = end};
    return Trainer(options_, *state_, data_, log_, settings).run();
  }

  // The newest snapshot says where the run is until another takes its place, which is the last that happens.
  void join() {
    const SafetensorsFile newest = read_safetensors(latest_path(run_.dir)), from = read_safetensors(carried_on());
    const int64_t images = state_->counters.images;
    const DataPosition data = state_->data;  // which --data-changed may have set
    restore(*state_, from);
    const Joining joining = probed(images, state_->counters.images);
    const Probed& best = best_of(joining.probed);
    console_.say(
        fmt::format("{}vision     {} joins, with {} behind it", to_string({joining}), best.network,
                    joining.of == images && joining.of > 0 ? "the last weights of the stage" : kimg(joining.of)));

    if (best.found.accuracy <= kSmoothedFrom && !vision_.aug.starts_with("diffaug"))
      vision_.unsmoothed += (vision_.unsmoothed.empty() ? "" : "+") + best.network;
    vision_.stage_began = images;
    let_judge(options_, best.network);
    state_.emplace(options_, device_);
    refill_sources(*state_, options_, from);
    restore(*state_, from, judge_role(best.network));
    restore_course(*state_, newest);
    state_->data = data;
    save_snapshot(latest_path(run_.dir), options_, *state_);
  }

  // The baseline's last snapshot, and of a stage with networks the best one that was measured in it.
  fs::path carried_on() {
    const fs::path best = best_path(run_.dir);
    if (joined() > 0 && fs::exists(best) && images_seen(best) > vision_.stage_began) return best;
    if (joined() > 0)
      console_.say(
          fmt::format("note       {}, so the last snapshot of the stage is carried on",
                      options_.metrics.names.empty() ? "--metrics none measures nothing" : "none was measured"));
    return latest_path(run_.dir);
  }

  // What the record has of this is not measured again.
  Joining probed(int64_t images, int64_t of) {
    std::vector<Joining> all = read_record(run_.dir);
    if (all.empty() || all.back().images != images || all.back().of != of) all.push_back({images, of, {}});
    Joining& now = all.back();
    const std::vector<std::string> names = vision_.names();
    for (const std::string& network : parts_of(vision_.bank, '+')) {
      if (std::ranges::count(names, network) || std::ranges::count(now.probed, network, &Probed::network)) continue;
      now.probed.push_back({network, probe(network)});
      write_record(run_.dir, all);
    }
    return now;
  }

  Probe probe(const std::string& network) {
    if (!measures_)
      measures_.emplace(options_, device_, data_, std::vector<std::string>(), measuring_progress(console_, run_));
    const auto judge = make_judge(options_, judge_weights(options_, network), 0, device_);
    const DType type = acc_type(options_.model.type());
    const Matrix reals = pooled_features(*judge, *measures_->trained, kMostReals, type);
    const int repeats = reals.rows > kFewReals ? kRepeats : kRepeatsOfFew;
    const auto fakes = [&](int repeat) {
      const auto images = measures_->generated(*state_, options_, uint64_t(joined() * repeats + repeat + 1));
      return pooled_features(*judge, *images, reals.rows, type);
    };
    return linear_probe(reals, fakes, repeats, seed_for(options_.seed, SeedUse::training) + uint64_t(joined()));
  }

  static std::string kimg(int64_t images) { return fmt::format("the weights of {:g} kimg", double(images) / 1000); }

  TrainOptions& options_;
  VisionAided& vision_;
  std::optional<TrainState>& state_;
  const Device device_;
  std::shared_ptr<const Dataset> data_;
  RunLog& log_;
  const RunSettings& run_;
  Console console_;
  std::optional<Measures> measures_;
};

}  // namespace

const Probed& best_of(const std::vector<Probed>& probed) {
  return *std::ranges::max_element(probed, {}, [](const Probed& p) { return p.found.accuracy; });
}

bool progresses(const TrainOptions& o) { return o.method<VisionAided>().progressive > 0; }

std::string plan_progression(TrainOptions& o) {
  auto& v = o.method<VisionAided>();
  const WeightFiles files = weight_files(o.metrics.features);
  std::vector<std::string> measuring, bank, notes;
  for (const MetricName& name : parse_metrics(o.metrics.names, files)) measuring.push_back(name.network);
  const bool given = !v.bank.empty();
  const auto consider = [&](const FeatureModel& model) {
    const bool measures = std::ranges::count(measuring, model.name) > 0;
    std::string why;
    if (measures) why = fmt::format("--metrics measures with {}, which would judge itself", model.name);
    try {
      check_judge_rows(model.name, v.size, "--vision-size");
    } catch (const ConfigError& e) {
      why = e.what();
    }
    if (given && !why.empty()) throw ConfigError("--vision-bank: " + why);
    if (why.empty())
      bank.push_back(model.name);
    else
      notes.push_back(why);
  };
  if (given) {
    for (const std::string& name : parts_of(v.bank, '+')) consider(feature_model(name));
  } else {
    for (const FeatureModel& model : feature_models())
      if (files.of(model.name) || !feature_file(model).empty()) consider(model);
  }
  for (const std::string& name : bank)  // says what is missing, damaged or given too small images, before hours go by
    make_judge(o, judge_weights(o, name), 0, Device::cpu());
  if (int(bank.size()) < v.progressive)
    throw ConfigError(
        fmt::format("--vision-progressive {} finds weights of {}{}{}; --features names files, and "
                    "FIRN_WEIGHTS a folder of them",
                    v.progressive, bank.empty() ? "no network" : fmt::format("{}", fmt::join(bank, ", ")),
                    bank.empty() ? "" : " alone", notes.empty() ? "" : fmt::format("; {}", fmt::join(notes, "; "))));
  v.bank = fmt::format("{}", fmt::join(bank, "+"));
  std::string text = fmt::format("vision     {} of {} join one after another", v.progressive, fmt::join(bank, ", "));
  for (const std::string& note : notes) text += "; " + note;
  return text + "\n";
}

std::string to_string(const std::vector<Joining>& joinings) {
  std::string text;
  for (const Joining& j : joinings) {
    text += fmt::format("vision     at {:g} kimg a line tells generated images from real ones\n{:>25}{:>10}{:>11}\n",
                        double(j.images) / 1000, "network", "accuracy", "deviation");
    for (const Probed& p : j.probed)
      text += fmt::format("{:>25}{:>10.4f}{:>11.4f}{}\n", p.network, p.found.accuracy, p.found.deviation,
                          &p == &best_of(j.probed) ? "  joins" : "");
  }
  return text;
}

void begin_progression(const fs::path& dir, const TrainOptions& o, TrainState& state) {
  settle_averages(state);
  write_text(dir / "training_options.json", to_json(o).dump(2) + "\n");
  save_snapshot(latest_path(dir), o, state);
}

Outcome train_progressively(TrainOptions& options, std::optional<TrainState>& state,
                            const std::shared_ptr<const Dataset>& data, RunLog& log, const RunSettings& run) {
  if (data->size() < 2)
    throw ConfigError("--vision-progressive needs two images or more, to learn from and to check with");
  return Progression(options, state, data, log, run).run();
}

}  // namespace firn
