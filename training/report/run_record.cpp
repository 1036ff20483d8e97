#include "training/report/run_record.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "io/files.h"
#include "io/json.h"
#include "training/run/run_folder.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

constexpr JsonLimits kLimits{.depth = 16, .values = 1'000'000};

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

class Reader {
 public:
  explicit Reader(RunRecord& run) : run_(run) {}

  Json object(const char* name) {
    if (!is_there(run_.dir / name)) return {};
    try {
      Json json = parse_json(read_text(run_.dir / name), name, kLimits);
      if (json.is_object()) return json;
      run_.remarks.push_back(fmt::format("{}: no JSON object", name));
    } catch (const SystemError&) {
      throw;
    } catch (const IoError& e) {
      run_.remarks.push_back(e.what());
    }
    return {};
  }

  // Calls take(record), which says whether it is one, for each line. A last one that is being written is no remark.
  template <class F>
  void lines(const fs::path& path, F&& take) {
    if (!is_there(path)) return;
    const std::string text = read_text(path), name = printable(path.filename().string());
    int bad = 0;
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      const std::string_view line = std::string_view(text).substr(at, end - at);
      if (!line.empty() && !takes(line, name, take) && end < text.size()) ++bad;
      at = end + 1;
    }
    if (bad > 0) run_.remarks.push_back(fmt::format("{}: {} line(s) could not be read", name, bad));
  }

 private:
  template <class F>
  bool takes(std::string_view line, const std::string& name, F&& take) {
    try {
      const Json record = parse_json(line, name, kLimits);
      return record.is_object() && take(record);
    } catch (const IoError&) {
      return false;
    }
  }

  RunRecord& run_;
};

double number(const Json& json) {  // what is not finite is written as null
  return json.is_number() ? json.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

void read_stats(RunRecord& run) {
  std::map<std::string, Points> stats;
  Reader(run).lines(run.dir / "stats.jsonl", [&](const Json& record) {
    const Json::json_pointer key("/Progress~1kimg/mean");
    const double kimg = record.contains(key) ? number(record[key]) : NAN;
    if (!std::isfinite(kimg)) return false;
    for (const auto& [name, stat] : record.items())
      if (stat.is_object() && stat.contains("mean")) stats[name][kimg] = number(stat["mean"]);
    if (const double when = record.contains("timestamp") ? number(record["timestamp"]) : NAN; when > 0 && when < 1e11)
      run.last_tick = when;
    return true;
  });
  for (const auto& [name, points] : stats) run.stats[name] = curve_of(points);
}

double images_of(const Json& record) {
  if (record.contains("images")) return number(record["images"]);
  const auto snapshot = record.find("snapshot_pkl");
  if (snapshot == record.end() || !snapshot->is_string()) return NAN;
  const std::string name = fs::path(snapshot->get<std::string>()).filename().string();
  for (const auto& [stem, extension] : {std::pair{"snapshot-", ".safetensors"}, {"network-snapshot-", ".pkl"}})
    if (const int64_t images = images_in(name, stem, extension); images >= 0) return double(images);
  return NAN;
}

Better direction(const Json& record, const std::string& name) {
  const auto better = record.find("better");
  if (better == record.end() || !better->is_object() || !better->contains(name)) return Better::unknown;
  const Json& word = (*better)[name];
  return word == "lower" ? Better::lower : word == "higher" ? Better::higher : Better::unknown;
}

std::vector<fs::path> files_of(const fs::path& dir) {  // by name
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error))
    files.push_back(it->path());
  if (error) throw SystemError(fmt::format("cannot read {}: {}", dir.string(), error.message()));
  std::ranges::sort(files);
  return files;
}

void read_measures(RunRecord& run, const fs::path& file) {
  std::map<std::string, Points> points;
  std::map<std::string, Better> better;
  Reader(run).lines(file, [&](const Json& record) {
    const double images = images_of(record);
    if (!std::isfinite(images) || !record.contains("results") || !record["results"].is_object()) return false;
    for (const auto& [name, value] : record["results"].items()) {
      if (!value.is_number() && !value.is_null()) continue;
      points[name][images / 1000] = number(value);
      better[name] = direction(record, name);
    }
    if (record.contains("total_time") && record["total_time"].is_number())
      run.evaluation_seconds += record["total_time"].get<double>();
    return true;
  });
  for (const auto& [name, values] : points)
    if (!run.measure(name)) run.measures.push_back({.name = name, .better = better[name], .curve = curve_of(values)});
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
  if (better == Better::unknown) return at;
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
  run.options = Reader(run).object("training_options.json");
  if (run.options.is_null()) run.options = Json::object();
  run.summary = Reader(run).object("summary.json");
  read_stats(run);
  const std::vector<fs::path> files = files_of(run.dir);
  for (const fs::path& file : files)
    if (const std::string name = file.filename().string(); name.starts_with("metric-") && name.ends_with(".jsonl"))
      read_measures(run, file);
  read_pictures(run, files);
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
