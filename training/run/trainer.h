// The training loop: iterations, ticks, snapshots and what the run folder shows of them.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "training/run/console.h"
#include "training/run/evaluations.h"
#include "training/run/report.h"
#include "training/run/sheets.h"
#include "training/run/team.h"

namespace firn {

struct RunSettings {
  std::filesystem::path dir;
  bool in_place = false;  // a run continues in the folder that it began in
  RealsPlan reals;
  int workers = 2;                         // threads that decode images
  const std::atomic<int>* stop = nullptr;  // set: finish the iteration, save, return
  bool live = false;                       // one line that rewrites itself, besides a line a tick
  std::function<void()> report;            // writes the page that TrainOptions::report asks for
  int64_t until = INT64_MAX;               // images: save there and return, to go on another time
  Stage stage = {};                        // of a run that has several
  std::shared_ptr<Team> team = std::make_shared<Team>(alone());
  bool verify = false;  // at the end of each tick, that all processes have the same state
};

// Shows how far an evaluation is; throws LoadingStopped at a stop request. Both must outlive it.
MeasuringProgress measuring_progress(Console& console, const RunSettings& run);

struct Diverged : Error {
  explicit Diverged(const std::string& message, std::source_location at = std::source_location::current())
      : Error(message, at) {}
};

enum class Outcome { finished, stopped };

class Trainer {
 public:
  // `state` is fresh, transferred or restored; the reals take up at state.data.
  Trainer(const TrainOptions& options, TrainState& state, std::shared_ptr<const Dataset> dataset, RunLog& log,
          RunSettings settings);

  // Diverged: losses not finite or absurd through abort_after ticks, or weights not finite. The
  // snapshots that were saved before stay, and log.txt has the error, as it has any other.
  Outcome run();

  void say(const std::string& line) { console_.say(line); }  // to the console and to log.txt
  void renew_report();                                       // where one is wanted; a failure is a line

 private:
  using Clock = std::chrono::steady_clock;
  double seconds_since(Clock::time_point t) const { return std::chrono::duration<double>(Clock::now() - t).count(); }
  bool over() const { return done() || evaluations_->over(); }
  bool resumed() const { return first_image_ > 0; }
  bool done() const { return settings_.stage.over(options_, state_.counters.images); }
  bool more_stages() const { return double(state_.counters.images) < options_.kimg * 1000; }  // behind one that is done
  bool tick_is_over() const;
  bool stopping() const { return settings_.stop && *settings_.stop != 0; }
  bool left() const { return state_.counters.images >= settings_.until; }
  Outcome train();
  void begin_folder();
  bool prepare();  // false: stopped meanwhile
  void end_tick();
  void check_health(const Stats& stats, bool ending);
  void require_finite_weights() const;
  void save_latest();
  void save();
  void evaluate();
  void keep_best();
  void show_progress();
  bool show_loading(const char* what, int64_t done, int64_t total);
  std::string summarize();  // writes summary.json; a line

  const TrainOptions& options_;
  TrainState& state_;
  std::shared_ptr<const Dataset> dataset_;
  RunLog& log_;
  RunSettings settings_;
  Console console_;
  SheetLayout layout_;
  std::optional<Reals> reals_;  // these from prepare() on
  std::optional<Iteration> iteration_;
  std::optional<Evaluations> evaluations_;
  Clock::time_point start_ = Clock::now(), tick_began_ = start_, last_shown_{}, last_saved_ = start_, loading_ = start_;
  int64_t first_image_ = 0, first_image_of_tick_ = 0;
  int64_t first_iteration_of_tick_ = 0, sent_before_tick_ = 0;
  int64_t saved_image_ = -1, best_image_ = -1;  // of the newest snapshot, and of the best one
  double maintenance_ = 0, trained_seconds_ = 0, limit_ = 0;
  Flops flops_before_tick_;
  int bad_ticks_ = 0;
  size_t bad_images_ = 0;
  bool broken_off_ = false;  // an evaluation, by a stop request
};

}  // namespace firn
