// metric-NAME.jsonl of a run folder: a line an evaluation, in the form of stylegan2-ada-pytorch with further members.
#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "metrics/comparison.h"

namespace firn {

// Of one evaluation of one metric by so many processes; `snapshot` names what was measured, `images` how many it had
// seen.
nlohmann::json metric_record(const MetricResult& result, const std::string& snapshot, int64_t images,
                             int processes = 1);

// The values that a metric's lines have of one score, in the order of images. Of lines about the same images the last
// counts: a killed run may have measured them again.
struct MetricCurve {
  Better better = Better::neither;
  std::vector<std::pair<int64_t, double>> points;  // images, value

  // The first of the best behind so many images; none: no point, or none is better.
  std::optional<std::pair<int64_t, double>> best(int64_t behind = -1) const;
  int since_best() const;  // evaluations after it
};

class MetricLog {
 public:
  // All that is there.
  explicit MetricLog(std::filesystem::path run) : MetricLog(std::move(run), std::numeric_limits<int64_t>::max()) {}
  // But for what lies beyond `images`, which is cut: a killed run had gone on after its snapshot. Only the holder of
  // the folder's lock may cut and add.
  MetricLog(std::filesystem::path run, int64_t images);

  void add(const MetricResult& result, const std::string& snapshot, int64_t images, int processes = 1);
  const std::map<std::string, MetricCurve>& curves() const { return curves_; }  // by score
  double seconds() const { return seconds_; }                                   // of all evaluations
  const std::vector<std::string>& remarks() const { return remarks_; }          // what could not be read
  bool has(const MetricName& name, int64_t images) const;

  // "fid5k_full  best 20.1 at 80.0 kimg / final 23.4", a line a score that has a best, as the papers' tables have it.
  std::vector<std::string> best_and_final() const;

 private:
  void take(const nlohmann::json& record, int64_t images);
  std::filesystem::path run_;
  std::map<std::string, MetricCurve> curves_;
  double seconds_ = 0;
  std::vector<std::string> remarks_;
};

}  // namespace firn
