#include "training/report/run_record.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "io/files.h"
#include "io/json.h"
#include "training/run/json_lines.h"
#include "training/run/metric_log.h"
#include "training/run/run_folder.h"
#include "training/run/selection.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

// Values by kimg. A run that was killed and resumed says some of them again: the last word counts.
using Points = std::map<double, double>;

Curve curve_of(const Points& points) {
  Curve curve;
  for (const auto& [kimg, value] : points) {
    curve.kimg.push_back(kimg);
    curve.value.push_back(value);
  }
  return curve;
}

bool is_there(const fs::path& path) {
  std::error_code none;
  return fs::exists(path, none);
}

Json object_in(RunRecord& run, const char* name) {
  if (!is_there(run.dir / name)) return {};
  try {
    Json json = parse_json(read_text(run.dir / name), name, {.depth = 16, .values = 1'000'000});
    if (json.is_object()) return json;
    run.remarks.push_back(fmt::format("{}: no JSON object", name));
  } catch (const SystemError&) {
    throw;
  } catch (const IoError& e) {
    run.remarks.push_back(e.what());
  }
  return {};
}

double number(const Json& json) {  // what is not finite is written as null
  return json.is_number() ? json.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

void read_stats(RunRecord& run) {
  std::map<std::string, Points> stats;
  const int bad = read_json_lines(run.dir / "stats.jsonl", [&](const Json& record, std::string_view) {
    const Json::json_pointer key("/Progress~1kimg/mean");
    const double kimg = record.contains(key) ? number(record[key]) : NAN;
    if (!std::isfinite(kimg)) return false;
    for (const auto& [name, stat] : record.items())
      if (stat.is_object() && stat.contains("mean")) stats[name][kimg] = number(stat["mean"]);
    if (const double when = record.contains("timestamp") ? number(record["timestamp"]) : NAN; when > 0 && when < 1e11)
      run.last_tick = when;
    return true;
  });
  if (bad > 0) run.remarks.push_back(fmt::format("stats.jsonl: {} line(s) could not be read", bad));
  for (const auto& [name, points] : stats) run.stats[name] = curve_of(points);
}

std::vector<fs::path> files_of(const fs::path& dir) {  // by name
  std::error_code error;
  std::vector<fs::path> files = entries_of(dir, error);
  if (error) throw SystemError(fmt::format("cannot read {}: {}", dir.string(), error.message()));
  return files;
}

void read_measures(RunRecord& run) {
  const MetricLog log(run.dir);
  for (const auto& [name, curve] : log.curves()) {
    Measure& measure = run.measures.emplace_back(Measure{.name = name, .better = curve.better, .curve = {}});
    for (const auto& [images, value] : curve.points) {
      measure.curve.kimg.push_back(double(images) / 1000);
      measure.curve.value.push_back(value);
    }
  }
  run.evaluation_seconds = log.seconds();
  run.remarks.insert(run.remarks.end(), log.remarks().begin(), log.remarks().end());
}

// Where the run began: above 0 where it took up a snapshot of another folder.
double first_kimg(const RunRecord& run) {
  const Curve &ticks = run.stat("Progress/tick"), &speed = run.stat("Timing/images_per_sec"),
              &seconds = run.stat("Timing/sec_per_tick");
  if (ticks.empty() || speed.empty() || seconds.empty() || ticks.value.front() == 0) return 0;
  const double first = ticks.kimg.front() - speed.value.front() * seconds.value.front() / 1000;
  return std::isfinite(first) ? std::max(0.0, std::round(first * 1000) / 1000) : 0;
}

void read_pictures(RunRecord& run, const std::vector<fs::path>& files) {
  for (const fs::path& file : files) {
    const std::string name = file.filename().string();
    if (name == "reals.png") run.reals = file;
    if (name == "neighbours.png") run.neighbours = file;
    if (name == "fakes-init.png") run.sheets.push_back({file, first_kimg(run)});
    if (const int64_t images = images_in(name, "fakes-", ".png"); images >= 0)
      run.sheets.push_back({file, double(images) / 1000});
  }
  std::ranges::stable_sort(run.sheets, {}, &Sheet::kimg);
}

std::vector<std::string> words_of(const std::string& name) {
  std::vector<std::string> words;
  for (size_t at = 0; at <= name.size();) {
    const size_t end = std::min(name.find('-', at), name.size());
    words.push_back(name.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

void make_names_differ(std::vector<RunRecord>& runs) {
  for (RunRecord& run : runs)
    for (const RunRecord& other : runs)
      if (&other != &run && other.dir.filename() == run.dir.filename()) run.name = run.dir.string();
}

std::string without_words(const std::string& name, const std::vector<std::string>& others) {
  std::string left;
  for (const std::string& word : words_of(name))
    if (std::ranges::find(others, word) == others.end()) left += (left.empty() ? "" : "-") + word;
  return left;
}

// Of a long name: its number, and what the name of the run nearest to it has not.
std::string label_of(const RunRecord& run, const std::vector<RunRecord>& runs) {
  constexpr size_t short_enough = 20;
  if (run.name.size() <= short_enough) return run.name;
  const std::string number = words_of(run.name).front();
  const bool numbered = number.find_first_not_of("0123456789") == number.npos;
  if (runs.size() == 1) return numbered ? number : run.name;
  std::string label;
  for (const RunRecord& other : runs) {
    if (&other == &run) continue;
    std::vector<std::string> common = words_of(other.name);
    if (numbered) std::erase(common, number);
    const std::string left = without_words(run.name, common);
    if (label.empty() || left.size() < label.size()) label = left;
  }
  return label;
}

void give_labels(std::vector<RunRecord>& runs) {
  std::map<std::string, int> uses;
  for (RunRecord& run : runs) ++uses[run.label = label_of(run, runs)];
  for (RunRecord& run : runs)
    if (run.label.empty() || uses[run.label] > 1) run.label = run.name;
}

}  // namespace

size_t Measure::best() const {
  size_t at = curve.value.size();
  if (better == Better::neither) return at;
  for (size_t i = 0; i < curve.value.size(); ++i) {
    const double value = curve.value[i];
    if (!std::isfinite(value)) continue;
    if (at == curve.value.size() || (better == Better::lower ? value < curve.value[at] : value > curve.value[at]))
      at = i;
  }
  return at;
}

const Curve& RunRecord::stat(const std::string& stat_name) const {
  static const Curve none;
  const auto found = stats.find(stat_name);
  return found == stats.end() ? none : found->second;
}

const Measure* RunRecord::measure(const std::string& measure_name) const {
  const auto found = std::ranges::find(measures, measure_name, &Measure::name);
  return found == measures.end() ? nullptr : &*found;
}

double RunRecord::kimg() const {
  const Curve& progress = stat("Progress/kimg");
  return progress.empty() ? 0 : progress.kimg.back();
}

RunRecord read_run(const fs::path& dir) {
  std::error_code error;
  if (!fs::is_directory(dir, error))
    throw IoError(fmt::format("{}: no run folder{}", dir.string(), is_there(dir) ? "" : ": it does not exist"));
  if (!is_there(dir / "training_options.json") && !is_there(dir / "stats.jsonl"))
    throw IoError(fmt::format(
        "{}: no run folder: it has neither training_options.json nor stats.jsonl (its own folders, if they are runs, "
        "are named by {}/*)",
        dir.string(), dir.string()));
  RunRecord run{.dir = fs::absolute(dir).lexically_normal()};
  if (!run.dir.has_filename()) run.dir = run.dir.parent_path();
  run.name = run.dir.filename().string();
  run.options = object_in(run, "training_options.json");
  if (run.options.is_null()) run.options = Json::object();
  run.summary = object_in(run, "summary.json");
  read_stats(run);
  read_measures(run);
  const std::vector<fs::path> files = files_of(run.dir);
  read_pictures(run, files);
  if (is_there(run.dir / "selection.json")) try {
      run.selection = parts_of(to_string(read_selection(run.dir)), '\n');
    } catch (const IoError& e) {
      run.remarks.push_back(e.what());
    }
  if (is_there(run.dir / "log.txt")) run.log = read_log(read_text(run.dir / "log.txt"));
  return run;
}

std::vector<RunRecord> read_runs(const std::vector<fs::path>& dirs) {
  std::vector<RunRecord> runs;
  for (const fs::path& dir : dirs) {
    RunRecord run = read_run(dir);
    if (std::ranges::count(runs, run.dir, &RunRecord::dir) == 0) runs.push_back(std::move(run));
  }
  make_names_differ(runs);
  give_labels(runs);
  return runs;
}

}  // namespace firn
