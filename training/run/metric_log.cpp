#include "training/run/metric_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/text.h"
#include "io/files.h"
#include "training/run/json_lines.h"
#include "training/run/report.h"
#include "training/run/run_folder.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

fs::path file_of(const fs::path& run, const std::string& metric) { return run / ("metric-" + metric + ".jsonl"); }

Better better_named(const std::string& name) {
  for (const Better b : {Better::lower, Better::higher})
    if (name == name_of(b)) return b;
  return Better::neither;
}

// -1: none. Lines of older versions and of other programs name the snapshot alone.
int64_t images_of(const nlohmann::json& record) {
  if (const auto images = record.find("images"); images != record.end())
    return images->is_number_integer() ? images->get<int64_t>() : -1;
  const auto snapshot = record.find("snapshot_pkl");
  if (snapshot == record.end() || !snapshot->is_string()) return -1;
  const std::string name = fs::path(snapshot->get<std::string>()).filename().string();
  return std::max(images_in(name, "snapshot-", ".safetensors"), images_in(name, "network-snapshot-", ".pkl"));
}

bool is_better(double a, double b, Better better) { return better == Better::lower ? a < b : a > b; }

}  // namespace

nlohmann::json metric_record(const MetricResult& result, const std::string& snapshot, int64_t images, int processes) {
  nlohmann::json record = {
      {"metric", result.name.text()},
      {"results", nlohmann::json::object()},
      {"better", nlohmann::json::object()},
      {"total_time", result.seconds},
      {"total_time_str", duration(result.seconds)},
      {"num_gpus", processes},
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

std::optional<std::pair<int64_t, double>> MetricCurve::best(int64_t behind) const {
  std::optional<std::pair<int64_t, double>> best;
  if (better == Better::neither) return best;
  for (const auto& point : points)
    if (point.first > behind && std::isfinite(point.second) && (!best || is_better(point.second, best->second, better)))
      best = point;
  return best;
}

int MetricCurve::since_best() const {
  const auto best = this->best();
  return int(std::ranges::count_if(points, [&](const auto& p) { return !best || p.first > best->first; }));
}

MetricLog::MetricLog(fs::path run, int64_t images) : run_(std::move(run)) {
  std::error_code none;
  std::vector<fs::path> files = entries_of(run_, none);
  std::erase_if(files, [](const fs::path& path) {
    const std::string name = path.filename().string();
    return !name.starts_with("metric-") || !name.ends_with(".jsonl");
  });
  for (const fs::path& file : files) {
    std::set<std::string, std::less<>> beyond;
    const int bad = read_json_lines(file, [&](const nlohmann::json& record, std::string_view line) {
      const int64_t at = images_of(record);
      if (at < 0 || !record.contains("results") || !record["results"].is_object()) return false;
      if (at > images)
        beyond.emplace(line);
      else
        take(record, at);
      return true;
    });
    if (bad > 0)
      remarks_.push_back(fmt::format("{}: {} line(s) could not be read", printable(file.filename().string()), bad));
    if (beyond.empty()) continue;
    std::string kept;
    const std::string text = read_text(file);
    for (size_t at = 0, end; (end = text.find('\n', at)) != text.npos; at = end + 1)
      if (const auto line = std::string_view(text).substr(at, end - at); !beyond.contains(line))
        kept.append(line) += '\n';
    write_text(file, kept);
  }
}

void MetricLog::take(const nlohmann::json& record, int64_t images) {
  const auto better = record.find("better");
  for (const auto& [name, value] : record["results"].items()) {
    if (!value.is_number() && !value.is_null()) continue;  // what is not finite is written as null
    MetricCurve& curve = curves_[name];
    if (better != record.end() && better->is_object() && better->contains(name) && (*better)[name].is_string())
      curve.better = better_named((*better)[name]);
    const std::pair point(images, value.is_number() ? value.get<double>() : NAN);
    const auto at = std::ranges::lower_bound(curve.points, images, {}, [](const auto& p) { return p.first; });
    if (at != curve.points.end() && at->first == images)
      *at = point;
    else
      curve.points.insert(at, point);
  }
  if (const auto time = record.find("total_time"); time != record.end() && time->is_number())
    seconds_ += time->get<double>();
}

// As a whole, so that no line is ever torn: each took much longer to measure than the few before take to be written.
// Another program's torn last line ends here.
void MetricLog::add(const MetricResult& result, const std::string& snapshot, int64_t images, int processes) {
  const nlohmann::json record = metric_record(result, snapshot, images, processes);
  const fs::path file = file_of(run_, result.name.text());
  std::string text = fs::exists(file) ? read_text(file) : "";
  text.resize(text.rfind('\n') + 1);
  write_text(file, text + record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  take(record, images);
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
