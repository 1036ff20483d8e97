// What a run folder tells of its run, as far as it has come: under way, stopped, resumed, torn or of an older version.
#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "training/report/log_record.h"

#include "metrics/metric.h"

namespace firn {

struct Curve {
  std::vector<double> kimg, value;  // kimg rising; NaN where a value was not finite
  bool empty() const { return kimg.empty(); }
  double last() const { return value.back(); }
};

// One number of the evaluations in metric-*.jsonl.
struct Measure {
  std::string name;
  Better better = Better::neither;  // neither: it has no best
  Curve curve;

  size_t best() const;  // where in the curve; its size where there is none
};

struct Sheet {
  std::filesystem::path path;
  double kimg;
};

struct RunRecord {
  std::filesystem::path dir;
  std::string name, label;  // of the folder; what tells it from the other runs of a page
  nlohmann::json options = nlohmann::json::object(), summary;  // the latter null where there is none yet
  std::map<std::string, Curve> stats;                          // by name, as in stats.jsonl
  std::vector<Measure> measures;
  double evaluation_seconds = 0;
  std::vector<Sheet> sheets;                // kimg rising
  std::filesystem::path reals, neighbours;  // empty: not there
  std::vector<std::string> selection;       // of --freeze-d auto, lines of a table; empty: there was none
  LogRecord log;
  double last_tick = 0;              // when it was, in seconds since 1970; 0: there was none
  std::vector<std::string> remarks;  // what could not be read, and why

  const Curve& stat(const std::string& name) const;  // empty where there is none
  const Measure* measure(const std::string& name) const;
  double kimg() const;  // so far
};

// IoError where `dir` is no run folder; what is missing or broken in one is left out, with a remark.
RunRecord read_run(const std::filesystem::path& dir);
// With labels; a run that is named twice comes once.
std::vector<RunRecord> read_runs(const std::vector<std::filesystem::path>& dirs);

}  // namespace firn
