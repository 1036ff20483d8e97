#include "training/run/selection.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "base/text.h"
#include "io/files.h"
#include "io/json.h"
#include "training/methods/source.h"
#include "training/run/run_folder.h"
#include "training/state/snapshot.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

constexpr int kMostDepths = 4;
constexpr double kShare = 0.25;  // of the run's images, that the depths which do not go on are trained on

fs::path record_path(const fs::path& dir) { return dir / "selection.json"; }
fs::path candidate_folder(const fs::path& dir, int blocks) {
  return dir / "selection" / fmt::format("freeze-d-{}", blocks);
}

void write_record(const fs::path& dir, const Selection& s) {
  nlohmann::json trials = nlohmann::json::array();
  for (const Trial& t : s.trials)  // what is not finite becomes null
    trials.push_back(
        {{"blocks", t.blocks}, {"images", t.images}, {"score", t.score}, {"note", t.note}, {"goes_on", t.goes_on}});
  const nlohmann::json record = {{"metric", s.metric},
                                 {"better", name_of(s.better)},
                                 {"depths", s.depths},
                                 {"first", s.first},
                                 {"trials", trials}};
  write_text(record_path(dir), record.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void remove_snapshots(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& [images, path] : run_snapshots(folder)) fs::remove(path, ignored);
  fs::remove(latest_path(folder), ignored);
}

// Depths under way, one after another, so that one of them is in memory.
class Candidates {
 public:
  Candidates(const TrainOptions& options, const Device& device, std::shared_ptr<const Dataset> data, DataMemory memory,
             RunLog& log, const RunSettings& run, Selection& selection)
      : options_(options),
        device_(device),
        data_(std::move(data)),
        memory_(memory),
        run_(run),
        selection_(selection),
        console_(log, run.dir),
        measures_(options, device, data_, {selection.metric}, measuring_progress(console_, run)) {}

  // Throws LoadingStopped.
  int left() {
    const int blocks = halve(
        selection_,
        [&](int depth, int64_t images) {
          console_.say(fmt::format("selection  {} until {:g} kimg", frozen(depth), double(images) / 1000));
          Trial trial{.blocks = depth, .images = images};
          try {
            trial.score = trained_and_measured(depth, images);
          } catch (const Diverged& e) {
            trial.note = e.what();
          } catch (const NotMeasured& e) {
            trial.note = e.what();
          }
          console_.say(fmt::format("selection  {} at {:g} kimg: {}", frozen(depth), double(images) / 1000,
                                   trial.note.empty() ? fmt::format("{} {:.6g}", selection_.metric, trial.score)
                                                      : printable(trial.note, 1000)));
          return trial;
        },
        [&] {
          write_record(run_.dir, selection_);
          drop();
        });
    console_.say(fmt::format("{}selection  {} goes on; the others cost {:g} kimg, {:.0f} % of this run",
                             to_string(selection_), frozen(blocks), double(lost()) / 1000,
                             double(lost()) / options_.kimg / 10));
    return blocks;
  }

 private:
  struct NotMeasured : Error {
    using Error::Error;
  };
  static std::string frozen(int blocks) {
    return blocks == 0 ? "nothing of D frozen" : fmt::format("{} block{} of D frozen", blocks, blocks > 1 ? "s" : "");
  }

  // What goes on keeps this state, so there is nothing in it of the selection.
  double trained_and_measured(int depth, int64_t images) {
    TrainOptions o = at_depth(options_, depth);
    o.metrics = {};
    o.report = false;
    o.snap = 1'000'000'000;  // never
    o.keep = 1;
    const fs::path folder = candidate_folder(run_.dir, depth);
    const bool begun = fs::exists(latest_path(folder));
    TrainState state(o, device_);
    const SafetensorsFile from = read_safetensors(latest_path(begun ? folder : run_.dir));
    refill_sources(state, o, from);
    restore(state, from);
    if (begun) {
      remove_strays(folder);
      rewind_stats(folder, state.counters.tick);
    }
    RunLog log(folder, begun ? AppendFile::Start::append : AppendFile::Start::empty);
    Trainer trainer(o, state, data_, log,
                    {.dir = folder,
                     .in_place = begun,
                     .reals = plan_reals(o, state.discriminator(), *data_, memory_, run_.team->processes().size()),
                     .workers = run_.workers,
                     .stop = run_.stop,
                     .live = run_.live,
                     .report = {},
                     .until = images,
                     .team = run_.team,
                     .verify = run_.verify});
    if (trainer.run() == Outcome::stopped) throw LoadingStopped{};
    const Evaluation found = measures_.comparison(measures_.generated(state, o), &state.sampled());
    if (found.metrics.empty()) throw NotMeasured(found.failures.front());
    const double score = found.metrics.front().scores.front().value;
    if (!std::isfinite(score)) throw NotMeasured(selection_.metric + " is not finite");
    return score;
  }

  // Snapshots of depths that do not go on where others of the same halving do.
  void drop() const {
    for (const Trial& t : selection_.trials)
      if (!t.goes_on && std::ranges::any_of(selection_.trials, [&](const Trial& other) {
            return other.images == t.images && other.goes_on;
          }))
        remove_snapshots(candidate_folder(run_.dir, t.blocks));
  }

  int64_t lost() const {
    int64_t images = 0;
    for (const Trial& t : selection_.trials) images += t.goes_on ? 0 : t.images;
    return images;
  }

  const TrainOptions& options_;
  const Device& device_;
  std::shared_ptr<const Dataset> data_;
  DataMemory memory_;
  const RunSettings& run_;
  Selection& selection_;
  Console console_;
  Measures measures_;
};

// What the run measures of images that were left out, or else what it would by default: of few samples.
MetricName measure_of(const TrainOptions& o, int64_t images) {
  const WeightFiles files = weight_files(o.metrics.features);
  const MetricName usual = parse_metrics(default_metrics(o.metrics, double(images)), files).front();
  const std::vector<MetricName> own = parse_metrics(o.metrics.names, files);
  const auto found = std::ranges::find_if(own, [](const MetricName& name) {
    return name.against == Against::left_out && name.metric->values.front().better != Better::neither;
  });
  MetricName name = found != own.end() ? *found : usual;
  name.fakes = std::min(name.fakes, usual.fakes);
  name.against = Against::left_out;
  require_weights(name, files);
  return name;
}

}  // namespace

int64_t Selection::lost_images() const {
  int64_t images = 0, each = first;
  for (size_t left = depths.size(), stay = 0; left > 1; left = stay, each *= 2) {
    stay = (left + 1) / 2;
    images += int64_t(left - stay) * each;
  }
  return images;
}

Selection plan_selection(const TrainOptions& o, int blocks) {
  if (blocks == 0) throw ConfigError("--freeze-d auto: D has no block before its head, so there is none to freeze");
  Selection s;
  const int steps = std::min(blocks, kMostDepths - 1);
  for (int i = 0; i <= steps; ++i) s.depths.push_back((2 * i * blocks + steps) / (2 * steps));
  s.first = 1;
  s.first = int64_t(o.kimg * 1000 * kShare) / s.lost_images() / o.batch * o.batch;
  if (s.first == 0)
    throw ConfigError(
        fmt::format("--freeze-d auto tries {} depths in a quarter of --kimg {:g}, which is less than a batch each",
                    s.depths.size(), o.kimg));
  const MetricName metric = measure_of(o, s.first);
  s.metric = metric.text();
  s.better = metric.metric->values.front().better;
  return s;
}

int halve(Selection& s, const std::function<Trial(int, int64_t)>& attempt, const std::function<void()>& noted) {
  const auto trial = [&](int blocks, int64_t images) {
    return std::ranges::find_if(s.trials, [&](const Trial& t) { return t.blocks == blocks && t.images == images; });
  };
  std::vector<int> left = s.depths;
  for (int64_t images = s.first; left.size() > 1; images *= 2) {
    for (const int blocks : left)
      if (trial(blocks, images) == s.trials.end()) {
        s.trials.push_back(attempt(blocks, images));
        noted();
      }
    std::vector<Trial*> rung;
    for (const int blocks : left) rung.push_back(&*trial(blocks, images));
    std::ranges::reverse(rung);  // among equals the cheapest
    std::ranges::stable_sort(rung, [&](const Trial* a, const Trial* b) {
      if (!std::isfinite(a->score) || !std::isfinite(b->score)) return std::isfinite(a->score);
      return s.better == Better::lower ? a->score < b->score : a->score > b->score;
    });
    const size_t most = (left.size() + 1) / 2;
    left.clear();
    for (Trial* t : rung)
      if ((t->goes_on = left.size() < most && std::isfinite(t->score))) left.push_back(t->blocks);
    if (left.empty()) throw Error("--freeze-d auto: at no depth could it be measured; " + rung.front()->note);
    std::ranges::sort(left);
    noted();
  }
  return left.front();
}

std::string to_string(const Selection& s) {
  std::string text = fmt::format("selection  by {}, {} is better\n{:>11}{:>9}{:>12}\n", s.metric, name_of(s.better),
                                 "blocks", "kimg", "score");
  for (const Trial& t : s.trials)
    text += fmt::format("{:>11}{:>9g}{:>12}  {}\n", t.blocks, double(t.images) / 1000,
                        t.note.empty() ? fmt::format("{:.6g}", t.score) : "-",
                        t.goes_on        ? "goes on"
                        : t.note.empty() ? "dropped"
                                         : "dropped: " + printable(t.note, 200));
  return text;
}

Selection read_selection(const fs::path& dir) {
  const std::string name = record_path(dir).string();
  const nlohmann::json record = parse_json(read_text(name), name, {.depth = 4, .values = 1000});
  try {
    Selection s{.metric = record.at("metric"),
                .better = record.at("better") == name_of(Better::lower) ? Better::lower : Better::higher,
                .depths = record.at("depths"),
                .first = record.at("first"),
                .trials = {}};
    for (const nlohmann::json& t : record.at("trials"))
      s.trials.push_back({.blocks = t.at("blocks"),
                          .images = t.at("images"),
                          .score = t.at("score").is_null() ? NAN : t.at("score").get<double>(),
                          .note = t.at("note"),
                          .goes_on = t.at("goes_on")});
    const bool depths = !s.depths.empty() && s.depths.size() <= kMostDepths && std::ranges::min(s.depths) >= 0;
    if (!depths || s.first < 1 || s.first > int64_t{1} << 50)
      throw IoError(fmt::format("{}: this is no selection", name));
    return s;
  } catch (const nlohmann::json::exception& e) {
    throw IoError(fmt::format("{}: {}", name, e.what()));
  }
}

TrainOptions at_depth(TrainOptions o, int blocks) {
  o.freeze.blocks = blocks;
  o.cache_features &= blocks > 0;
  return o;
}

void begin_selection(const fs::path& dir, const TrainOptions& o, const TrainState& state, const Selection& selection) {
  write_text(dir / "training_options.json", to_json(o).dump(2) + "\n");
  write_record(dir, selection);
  save_snapshot(latest_path(dir), o, state);
}

std::optional<int> select_depth(const TrainOptions& o, const Device& device, const std::shared_ptr<const Dataset>& data,
                                DataMemory memory, RunLog& log, const RunSettings& run) try {
  Selection selection = read_selection(run.dir);
  return Candidates(o, device, data, memory, log, run, selection).left();
} catch (const LoadingStopped&) {
  return std::nullopt;
} catch (const std::exception& e) {
  Console(log, run.dir).note(e);
  throw;
}

void go_on_from(const fs::path& dir, const TrainOptions& o, TrainState& state) {
  const fs::path folder = candidate_folder(dir, o.freeze.blocks);
  const SafetensorsFile file = read_safetensors(latest_path(folder));
  refill_sources(state, o, file);
  restore(state, file);
  std::error_code error;
  for (const fs::path& path : entries_of(folder, error)) {
    const std::string name = path.filename().string();
    if (name.starts_with("fakes-") || name.starts_with("events.") || name == "reals.png" || name == "stats.jsonl")
      fs::rename(path, dir / name);
  }
  if (error) throw SystemError(fmt::format("cannot read {}: {}", folder.string(), error.message()));
  save_snapshot(latest_path(dir), o, state);
}

void forget_candidates(const fs::path& dir) {
  std::error_code none;
  for (const fs::path& path : entries_of(dir / "selection", none)) remove_snapshots(path);
}

}  // namespace firn
