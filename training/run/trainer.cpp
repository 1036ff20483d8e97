#include "training/run/trainer.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "io/files.h"
#include "kernels/device/cpu_limits.h"
#include "kernels/device/memory.h"
#include "training/run/run_folder.h"
#include "training/state/snapshot.h"

namespace firn {

namespace {

constexpr double kSaveSeconds = 900;

// Losses are about as large as D's logits, which stay below some hundreds while anything is learnt.
constexpr double kAbsurdLoss = 1e6;

}  // namespace

Trainer::Trainer(const TrainOptions& options, TrainState& state, std::shared_ptr<const Dataset> dataset, RunLog& log,
                 RunSettings settings)
    : options_(options),
      state_(state),
      dataset_(std::move(dataset)),
      log_(log),
      settings_(std::move(settings)),
      console_(log, settings_.dir),
      layout_(sheet_layout(options, state.device())),
      first_image_(state.counters.images),
      first_image_of_tick_(state.counters.images) {}

bool Trainer::tick_is_over() const {  // the first tick is one iteration, to show soon that all is well
  const Counters& c = state_.counters;
  return done() || c.tick == 0 || double(c.images) >= double(c.tick_start) + options_.kimg_per_tick * 1000;
}

void Trainer::begin_folder() {
  write_text(settings_.dir / "training_options.json", to_json(options_).dump(2) + "\n");
  if (settings_.in_place) {
    log_.events().restart(state_.counters.images + 1);
  } else {
    settle_averages(state_);
    save_png(settings_.dir / "reals.png", reals_sheet(*dataset_, layout_));
    save_png(settings_.dir / "fakes-init.png", fakes_sheet(state_.sampled(), options_, layout_));
  }
}

bool Trainer::prepare() {
  loading_ = last_shown_ = Clock::now();
  settings_.team->begin(options_, state_, settings_.reals.sharded);
  Communicator& processes = settings_.team->processes();
  try {
    reals_.emplace(options_, state_, dataset_,
                   RealsSettings{.plan = settings_.reals,
                                 .workers = settings_.workers,
                                 .processes = &processes,
                                 .progress = [this](auto... of) { return show_loading(of...); }});
    iteration_.emplace(options_, state_, dataset_.get(), *reals_, processes);
  } catch (const LoadingStopped&) {
    return false;
  }
  settings_.team->ready();
  if (!state_.device().is_cuda())  // on a GPU not all FLOPs are counted
    limit_ = kernels::cpu_limits().flops(options_.model.basics().activation_type);
  start_ = tick_began_ = last_saved_ = Clock::now();
  flops_before_tick_ = flops_so_far();
  first_iteration_of_tick_ = state_.counters.iteration;
  sent_before_tick_ = settings_.team->processes().bytes_sent();
  return true;
}

Outcome Trainer::run() try { return train(); } catch (const std::exception& e) {
  console_.note(e);
  throw;
}

Outcome Trainer::train() {
  settings_.team->end();  // of a run before this one
  evaluations_.emplace(options_, state_, dataset_, settings_.dir, measuring_progress(console_, settings_),
                       settings_.stage, settings_.team);
  if (std::filesystem::exists(best_path(settings_.dir))) best_image_ = images_seen(best_path(settings_.dir));
  if (!resumed() || !over()) begin_folder();
  const bool missing = evaluations_->missing() && (settings_.in_place || !done());
  if (missing) evaluate();
  keep_best();
  if (broken_off_) {
    if (!settings_.in_place) save();
    return Outcome::stopped;
  }
  if (resumed() && over()) {  // nothing that tells of the training is written over
    if (done() && more_stages()) return Outcome::finished;
    if (missing)
      for (const std::string& best : evaluations_->best_and_final()) say(best);
    const double kimg = double(first_image_) / 1000;
    say(done() ? fmt::format("nothing to do: {:g} of {:g} kimg are done; a larger --kimg goes on", kimg, options_.kimg)
               : fmt::format("nothing to do: --stop-when {} ended the run at {:g} kimg; a larger number goes on",
                             options_.metrics.stop_when, kimg));
    if (missing) renew_report();
    return Outcome::finished;
  }
  if (left()) return Outcome::finished;
  if (!prepare()) {
    save();
    return Outcome::stopped;
  }
  while (!over()) {
    settings_.team->iterate(*iteration_);
    if (tick_is_over())
      end_tick();
    else
      show_progress();
    if ((stopping() || left()) && (!over() || broken_off_)) {
      check_health(state_.stats.read(), true);
      if (saved_image_ != state_.counters.images) save();
      if (over()) summarize();
      return stopping() ? Outcome::stopped : Outcome::finished;
    }
  }
  if (saved_image_ != state_.counters.images) save();  // nothing to train, or --stop-when between two snapshots
  if (done() && more_stages()) return Outcome::finished;
  if (!done())
    say(fmt::format("--stop-when {} ends the run at {:.1f} kimg", options_.metrics.stop_when,
                    double(state_.counters.images) / 1000));
  const std::string line = summarize();
  for (const std::string& best : evaluations_->best_and_final()) say(best);
  say(line);
  renew_report();
  return Outcome::finished;
}

void Trainer::end_tick() {
  Counters& c = state_.counters;
  state_.count_repaired();  // waits for the device: what follows is measured
  const double spent = seconds_since(tick_began_);
  const Flops flops = flops_so_far();
  trained_seconds_ += spent;
  const Stats stats = tick_stats(
      state_, *iteration_,
      {.total = seconds_since(start_),
       .tick = spent,
       .maintenance = maintenance_,
       .images = c.images - first_image_of_tick_,
       .flops = {.direct = flops.direct - flops_before_tick_.direct, .done = flops.done - flops_before_tick_.done},
       .limit = limit_,
       .sent = double(settings_.team->processes().bytes_sent() - sent_before_tick_) /
               double(std::max<int64_t>(1, c.iteration - first_iteration_of_tick_))});
  const Clock::time_point maintenance_began = Clock::now();
  say(tick_line(stats, options_));
  log_.stats(stats_record(stats));
  for (const auto& [name, stat] : stats) log_.events().scalar(name, float(stat.mean()), c.images);
  if (const auto bad = settings_.team->skipped(*dataset_); bad.size() > bad_images_) {
    say(fmt::format("{} broken images skipped so far; the last is {}: {}", bad.size(), printable(bad.back().first),
                    printable(bad.back().second)));
    bad_images_ = bad.size();
  }
  check_health(stats, done());
  if (settings_.verify) settings_.team->verify(options_, state_);

  const int64_t finished_tick = c.tick++;
  c.tick_start = c.images;
  state_.stats.set({});
  kernels::reset_peak();
  if (bad_ticks_ == 0) {
    if (done() || (finished_tick > 0 && finished_tick % options_.snap == 0))
      save();
    else if (finished_tick == 0 || seconds_since(last_saved_) > kSaveSeconds)
      save_latest();
    if (evaluations_->due(finished_tick)) evaluate();
  }
  log_.flush();
  if (saved_image_ == c.images && !done()) renew_report();  // at the end it waits for the summary
  maintenance_ = seconds_since(maintenance_began);
  tick_began_ = Clock::now();
  first_image_of_tick_ = c.images;
  flops_before_tick_ = flops_so_far();
  first_iteration_of_tick_ = c.iteration;
  sent_before_tick_ = settings_.team->processes().bytes_sent();
}

// A run that ends, or is ended, while its losses make no sense has nothing worth saving.
void Trainer::check_health(const Stats& stats, bool ending) {
  bool bad = false;
  for (const auto& [name, stat] : stats)
    if (name.starts_with("Loss/") && name.ends_with("/loss"))
      bad |= stat.mostly_not_finite() || std::abs(stat.mean()) > kAbsurdLoss;
  if (bad)
    ++bad_ticks_;
  else if (!stats.empty())
    bad_ticks_ = 0;
  if (bad_ticks_ == 0 || (bad_ticks_ < options_.abort_after && !ending)) return;
  throw Diverged(fmt::format(
      "the run diverged at {:.1f} kimg: losses were not finite or beyond 1e6 through {} tick(s); what was saved before "
      "in {} is kept; try {}",
      double(state_.counters.images) / 1000, bad_ticks_, settings_.dir.string(),
      objective_of(options_.model).steadier));
}

void Trainer::require_finite_weights() const {
  for (const Role& role : state_.roles)
    for (const Network* network : {role.network.get(), role.average.get()})
      if (network && !all_finite(network->parameters()))
        throw Diverged(fmt::format(
            "the run diverged at {:.1f} kimg: weights are not finite; not saved, what was saved before in {} is kept",
            double(state_.counters.images) / 1000, settings_.dir.string()));
}

// Between snapshots: a crash costs a quarter of an hour, and no file more is kept.
void Trainer::save_latest() {
  settle_averages(state_);
  require_finite_weights();
  save_snapshot(latest_path(settings_.dir), options_, state_);
  last_saved_ = Clock::now();
}

void Trainer::save() {
  settle_averages(state_);
  require_finite_weights();
  const std::filesystem::path path = snapshot_path(settings_.dir, state_.counters.images);
  save_snapshot(path, options_, state_);
  publish(path, latest_path(settings_.dir));
  prune_snapshots(settings_.dir, options_.keep);
  const Image fakes = fakes_sheet(state_.sampled(), options_, layout_);
  save_png(settings_.dir / numbered("fakes", state_.counters.images, "png"), fakes);
  log_.events().image("fakes", fakes, state_.counters.images);
  last_saved_ = Clock::now();
  saved_image_ = state_.counters.images;
  say("saved " + path.string());
}

// snapshot-best is of where the first metric was best, also after a kill between a line and its file.
void Trainer::keep_best() {
  const auto best = evaluations_->best();
  if (!best || *best == best_image_) return;
  const std::filesystem::path path = best_path(settings_.dir), numbered = snapshot_path(settings_.dir, *best);
  if (*best == state_.counters.images && *best != saved_image_)
    save_snapshot(path, options_, state_);
  else if (std::filesystem::exists(numbered))
    publish(numbered, path);
  else if (best_image_ >= 0)
    say(fmt::format("{} is of {:g} kimg{}; that of {:g} kimg, the best so far, is gone, and a better one replaces it",
                    path.filename().string(), double(best_image_) / 1000,
                    best_image_ > state_.counters.images ? ", beyond where the run goes on" : "",
                    double(*best) / 1000));
  best_image_ = *best;  // or what is to be surpassed
}

// What goes wrong with a measure ends no run, but for failures of the machine.
void Trainer::evaluate() try {
  settle_averages(state_);
  for (const std::string& line : evaluations_->evaluate(log_.events())) say(line);
  keep_best();
} catch (const LoadingStopped&) {
  broken_off_ = true;
  say("metrics    broken off; they are measured when the run goes on");
} catch (const SystemError&) {
  throw;
} catch (const Error& e) {
  say(fmt::format("metrics    failed: {}", printable(e.what(), 1000)));
} catch (const std::bad_alloc&) {
  say("metrics    failed: out of memory; fewer images need less (--metrics)");
}

void Trainer::renew_report() {
  if (!options_.report || !settings_.report) return;
  try {
    settings_.report();
  } catch (const std::exception& e) {
    say(fmt::format("the report was not renewed: {}",
                    dynamic_cast<const std::bad_alloc*>(&e) ? "out of memory" : printable(e.what(), 4000)));
  }
}

void Trainer::show_progress() {
  if (!settings_.live || seconds_since(last_shown_) < 0.2) return;
  last_shown_ = Clock::now();
  const double kimg = double(state_.counters.images) / 1000;
  const double speed = double(state_.counters.images - first_image_of_tick_) / seconds_since(tick_began_);
  const Stats s = state_.stats.read();
  console_.show(fmt::format("kimg {:.2f}/{:g}  {:.1f} img/s  eta {}  G {:.3f}  D {:.3f}", kimg, options_.kimg, speed,
                            duration((options_.kimg - kimg) * 1000 / speed), mean_of(s, "Loss/G/loss"),
                            mean_of(s, "Loss/D/loss")));
}

bool Trainer::show_loading(const char* what, int64_t done, int64_t total) {
  if (done == total) {
    say(fmt::format("{} {} in {}", total, what, duration(seconds_since(loading_))));
    loading_ = Clock::now();
    return true;
  }
  if (stopping()) return false;
  if (seconds_since(last_shown_) < (settings_.live ? 0.2 : 30)) return true;
  last_shown_ = Clock::now();
  const std::string line = fmt::format("{} of {} {}", done, total, what);
  if (settings_.live)
    console_.show(line);
  else
    say(line);
  return true;
}

MeasuringProgress measuring_progress(Console& console, const RunSettings& run) {
  using Clock = std::chrono::steady_clock;
  return [&, shown = Clock::time_point{}](const std::string& what, int64_t done, int64_t total) mutable {
    if (run.stop && *run.stop != 0) throw LoadingStopped{};
    const auto now = Clock::now();
    if (!run.live || now - shown < std::chrono::milliseconds(200)) return;
    shown = now;
    console.show(fmt::format("{} of {} {} measured", done, total, what));
  };
}

std::string Trainer::summarize() {
  const int64_t images = state_.counters.images - first_image_;
  const Parameters d = state_.discriminator().parameters().without_buffers(),
                   g = state_.generator().parameters().without_buffers();
  const auto& phases = iteration_->phases();
  const bool d_has_phase = std::ranges::any_of(phases, [](const Phase& p) { return p.trains == "D"; });
  const int64_t d_trains = d_has_phase ? d.trains() : 0;
  const double speed = trained_seconds_ > 0 ? double(images) / trained_seconds_ : 0, memory = process_memory().peak_gb;
  nlohmann::json summary = {{"kimg", double(state_.counters.images) / 1000},
                            {"seconds", seconds_since(start_)},
                            {"images_per_second", speed},
                            {"peak_memory_gb", memory},
                            {"d_parameters", d.count()},
                            {"d_parameters_trainable", d_trains},
                            {"g_parameters", g.count()},
                            {"g_parameters_trainable", g.trains()}};
  for (const Iteration::Timing& t : iteration_->timings()) summary[t.name + "_ms"] = t.mean();
  write_text(settings_.dir / "summary.json", summary.dump(2) + "\n");
  return fmt::format("done: {:.1f} kimg in {}, {:.1f} img/s, peak memory {:.2f} GB, {} of {} parameters of D trained",
                     double(state_.counters.images) / 1000, duration(seconds_since(start_)), speed, memory, d_trains,
                     d.count());
}

}  // namespace firn
