#include "training/run_folder.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/files.h"
#include "kernels/error.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

constexpr const char* latest_name = "snapshot-latest.safetensors";

bool all_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// The number of a folder named NNNNN-..., or -1.
int64_t run_number(const fs::path& path) {
  const std::string name = path.filename().string(), digits = name.substr(0, name.find('-'));
  return all_digits(digits) && digits.size() < 10 ? std::stoll(digits) : -1;
}

std::vector<fs::path> entries(const fs::path& dir) {
  std::error_code error;
  std::vector<fs::path> list;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) list.push_back(it->path());
  return list;
}

}  // namespace

std::string run_description(const TrainOptions& o, const PresetOverrides& set) {
  fs::path data = o.data.path;
  if (!data.has_filename()) data = data.parent_path();
  std::string text = data.stem().string();
  if (o.cond) text += "-cond";
  if (o.data.subset > 0) text += fmt::format("-subset{}", o.data.subset);
  if (o.data.mirror) text += "-mirror";
  text += "-" + o.cfg;
  if (set.gamma) text += fmt::format("-gamma{:g}", *set.gamma);
  if (set.kimg) text += fmt::format("-kimg{:g}", *set.kimg);
  if (set.batch) text += fmt::format("-batch{}", *set.batch);
  if (!o.init.empty()) text += "-init";
  if (o.freeze.blocks > 0) text += fmt::format("-freezeD{}blocks", o.freeze.blocks);
  if (o.freeze.layers > 0) text += fmt::format("-freezed{}", o.freeze.layers);
  if (!o.freeze.patterns.empty()) text += "-freeze";
  for (char& c : text)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') c = '_';
  return text;
}

fs::path create_run_folder(const fs::path& outdir, const std::string& description) {
  make_directories(outdir);
  int64_t number = -1;
  for (const fs::path& path : entries(outdir)) number = std::max(number, run_number(path));
  for (int tries = 0; tries < 100; ++tries) {  // another run may take the same number first
    const fs::path run = outdir / fmt::format("{:05}-{}", ++number, description);
    std::error_code error;
    if (fs::create_directory(run, error)) return run;
    if (error) throw IoError(fmt::format("{}: {}", run.string(), error.message()));
  }
  throw IoError(fmt::format("{}: no free number for a run folder", outdir.string()));
}

fs::path latest_snapshot(const fs::path& outdir) {
  fs::path newest;
  for (const fs::path& path : entries(outdir))
    if (run_number(path) >= 0 && (newest.empty() || run_number(path) > run_number(newest))) newest = path;
  if (newest.empty()) throw IoError(fmt::format("{}: no run to resume", outdir.string()));
  if (!fs::exists(newest / latest_name))
    throw IoError(fmt::format("{}: the newest run has no snapshot; name one of an older run with --resume FILE",
                              newest.string()));
  return newest / latest_name;
}

std::string numbered(std::string_view stem, int64_t images, std::string_view extension) {
  return fmt::format("{}-{:06}.{}", stem, images / 1000, extension);
}

fs::path snapshot_path(const fs::path& run, int64_t images) {
  return run / numbered("snapshot", images, "safetensors");
}

fs::path latest_path(const fs::path& run) { return run / latest_name; }

void publish_latest(const fs::path& snapshot) {
  const fs::path latest = latest_path(snapshot.parent_path());
  std::error_code error;
  TemporaryName link(latest, [&](const fs::path& name) { fs::create_hard_link(snapshot, name, error); });
  if (!error) return link.commit();
  std::ifstream source(snapshot, std::ios::binary);  // a file system without links
  atomic_write(latest, [&](std::ostream& out) { out << source.rdbuf(); });
}

void prune_snapshots(const fs::path& run, int keep) {
  if (keep <= 0) return;
  std::vector<fs::path> snapshots;
  for (const fs::path& path : entries(run)) {
    const std::string stem = path.stem().string();
    if (path.extension() == ".safetensors" && stem.starts_with("snapshot-") && all_digits(stem.substr(9)))
      snapshots.push_back(path);
  }
  std::ranges::sort(snapshots);
  std::error_code ignored;
  for (size_t i = 0; i + size_t(keep) < snapshots.size(); ++i) fs::remove(snapshots[i], ignored);
}

void rewind_stats(const fs::path& run, int64_t tick) {
  const fs::path path = run / "stats.jsonl";
  if (!fs::exists(path)) return;
  std::istringstream lines(read_text(path));
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json record = nlohmann::json::parse(line, nullptr, false);
    const nlohmann::json::json_pointer key("/Progress~1tick/mean");
    if (record.is_object() && record.contains(key) && record[key].is_number() && record[key] < tick)
      kept += line + "\n";
  }
  write_text(path, kept);
}

}  // namespace firn
