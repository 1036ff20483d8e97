#include "training/run/metric_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/files.h"
#include "training/run/report.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

fs::path file_of(const fs::path& run, const std::string& metric) { return run / ("metric-" + metric + ".jsonl"); }

Better better_named(const std::string& name) {
  for (const Better b : {Better::lower, Better::higher})
    if (name == name_of(b)) return b;
  return Better::neither;
}

bool is_better(double a, double b, Better better) { return better == Better::lower ? a < b : a > b; }

}  // namespace

nlohmann::json metric_record(const MetricResult& result, const std::string& snapshot, int64_t images) {
  nlohmann::json record = {
      {"metric", result.name.text()},
      {"results", nlohmann::json::object()},
      {"better", nlohmann::json::object()},
      {"total_time", result.seconds},
      {"total_time_str", duration(result.seconds)},
      {"num_gpus", 1},
      {"snapshot_pkl", snapshot},
      {"timestamp", std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count()},
      {"images", images}};
  for (const Score& score : result.scores) {
    record["results"][score.name] = score.value;
    record["better"][score.name] = name_of(score.better);
  }
  if (!result.name.network.empty()) {
    record["network"] = result.name.network;
    record["weights_sha256"] = result.weights;
    record["variant"] = name_of(result.name.variant);
    record["resizer"] = name_of(resizer_of(result.name.variant));
    record["machine"] = result.machine;
  }
  return record;
}

std::optional<std::pair<int64_t, double>> MetricCurve::best() const {
  std::optional<std::pair<int64_t, double>> best;
  if (better == Better::neither) return best;
  for (const auto& point : points)
    if (std::isfinite(point.second) && (!best || is_better(point.second, best->second, better))) best = point;
  return best;
}

int MetricCurve::since_best() const {
  const auto best = this->best();
  return int(std::ranges::count_if(points, [&](const auto& p) { return !best || p.first > best->first; }));
}

MetricLog::MetricLog(fs::path run, int64_t images) : MetricLog(std::move(run), images, Lines::cut) {}

MetricLog MetricLog::of(fs::path run) { return {std::move(run), INT64_MAX, Lines::keep}; }

MetricLog::MetricLog(fs::path run, int64_t images, Lines rule) : run_(std::move(run)) {
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(run_, none)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("metric-") || !name.ends_with(".jsonl")) continue;
    const std::string text = read_text(entry.path());
    std::istringstream lines(text);
    std::string kept;
    for (std::string line; std::getline(lines, line);) {
      const nlohmann::json record = nlohmann::json::parse(line, nullptr, false);
      if (!record.is_object() || !record.contains("images") || !record["images"].is_number_integer() ||
          record["images"] > images)
        continue;
      kept += line + "\n";
      take(record);
    }
    if (kept != text && rule == Lines::cut) write_text(entry.path(), kept);
  }
}

void MetricLog::take(const nlohmann::json& record) {
  const auto results = record.find("results"), better = record.find("better");
  if (results == record.end() || !results->is_object() || better == record.end() || !better->is_object()) return;
  for (const auto& [name, value] : results->items()) {
    MetricCurve& curve = curves_[name];
    const auto direction = better->find(name);
    if (direction != better->end() && direction->is_string()) curve.better = better_named(*direction);
    const std::pair point(record["images"].get<int64_t>(), value.is_number() ? value.get<double>() : NAN);
    curve.points.insert(std::ranges::upper_bound(curve.points, point.first, {}, [](const auto& p) { return p.first; }),
                        point);
  }
}

void MetricLog::add(const MetricResult& result, const std::string& snapshot, int64_t images) {
  const nlohmann::json record = metric_record(result, snapshot, images);
  AppendFile file(file_of(run_, result.name.text()), AppendFile::Start::append);
  file.write(record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  take(record);
}

bool MetricLog::has(int64_t images) const {
  return std::ranges::any_of(curves_, [&](const auto& named) {
    return std::ranges::count(named.second.points, images, [](const auto& p) { return p.first; }) > 0;
  });
}

bool MetricLog::has(const MetricName& name, int64_t images) const {
  return std::ranges::all_of(name.metric->values, [&](const Metric::Value& value) {
    const auto curve = curves_.find(name.text() + value.name);
    return curve != curves_.end() &&
           std::ranges::count(curve->second.points, images, [](const auto& p) { return p.first; });
  });
}

std::vector<std::string> MetricLog::best_and_final() const {
  std::vector<std::string> lines;
  for (const auto& [name, curve] : curves_)
    if (const auto best = curve.best())
      lines.push_back(fmt::format("{}  best {:.6g} at {:g} kimg / final {:.6g}", name, best->second,
                                  double(best->first) / 1000, curve.points.back().second));
  return lines;
}

}  // namespace firn
