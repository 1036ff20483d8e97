#include "training/run/run_folder.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/files.h"
#include "training/run/json_lines.h"

namespace firn {
namespace fs = std::filesystem;
namespace {

constexpr const char *latest_name = "snapshot-latest.safetensors", *best_name = "snapshot-best.safetensors";

bool all_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// None of a folder that is not there or not ours to read. Any other failure would make another run the newest.
std::vector<fs::path> entries(const fs::path& dir) {
  std::error_code error;
  std::vector<fs::path> list = entries_of(dir, error);
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory &&
      error != std::errc::permission_denied)
    throw SystemError(fmt::format("cannot read {}: {}", dir.string(), error.message()));
  return list;
}

int64_t snapshot_images(const fs::path& path) {
  return images_in(path.filename().string(), "snapshot-", ".safetensors");
}

// .FILE.PROCESS-N.tmp of a file that a run writes.
bool is_temporary(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with('.') || !name.ends_with(".tmp") || name.size() < 6) return false;
  const std::string inner = name.substr(1, name.size() - 5), file = inner.substr(0, inner.rfind('.')),
                    process = inner.substr(std::min(file.size() + 1, inner.size()));
  const size_t dash = std::min(process.find('-'), process.size());
  if (!all_digits(process.substr(0, dash)) || (dash < process.size() && !all_digits(process.substr(dash + 1))))
    return false;
  constexpr const char* others[] = {
      latest_name,    best_name,        "reals.png",  "neighbours.png", "fakes-init.png", "training_options.json",
      "summary.json", "selection.json", "probe.json", "stats.jsonl",    "report.html"};
  return std::ranges::count(others, file) > 0 || file.starts_with("metric-") || snapshot_images(file) >= 0 ||
         images_in(file, "fakes-", ".png") >= 0;
}

std::vector<fs::path> numbered_snapshots(const fs::path& run) {  // oldest first
  std::vector<fs::path> list = entries(run);
  std::erase_if(list, [](const fs::path& path) { return snapshot_images(path) < 0; });
  std::ranges::sort(list, {}, snapshot_images);
  return list;
}

// Empty where there is none. A run that was killed may have one that is newer than its `latest`, of the same state.
fs::path latest_in(const fs::path& run) {
  std::error_code error;
  if (fs::exists(run / latest_name, error)) return run / latest_name;
  if (error && error != std::errc::permission_denied)  // an older one must not take its place
    throw SystemError(fmt::format("cannot read {}: {}", (run / latest_name).string(), error.message()));
  const std::vector<fs::path> numbered = numbered_snapshots(run);
  return numbered.empty() ? fs::path() : numbered.back();
}

// The number of a run folder, NNNNN-..., or -1. It may be empty: the run was killed in its first moment, or begins just
// now. Files and folders of other things that are named like one do not count.
int64_t run_number(const fs::path& path) {
  const std::string name = path.filename().string(), digits = name.substr(0, name.find('-'));
  if (!all_digits(digits) || digits.size() < 5 || digits.size() > 9 || digits.size() == name.size()) return -1;
  std::error_code error;
  const bool ours = fs::is_directory(path, error) && (fs::is_empty(path, error) || !latest_in(path).empty() ||
                                                      fs::exists(path / "training_options.json", error));
  return ours ? std::stoll(digits) : -1;
}

}  // namespace

std::string run_description(const TrainOptions& o, const Overlay& given) {
  fs::path data = o.data.path;
  if (!data.has_filename()) data = data.parent_path();
  std::string text = data.stem().string();
  if (o.cond) text += "-cond";
  if (o.data.subset > 0) text += fmt::format("-subset{}", o.data.subset);
  if (o.data.mirror) text += "-mirror";
  if (o.model.kind() != models().front().kind) text += fmt::format("-{}", o.model.kind());
  text += "-" + o.cfg;
  if (o.augment.on()) text += "-" + o.augment.aug;
  TrainOptions named = o;
  for_each_option(named, [&](const Option& option, const OptionValue& value) {
    if (*option.folder && given.has(option)) text += fmt::format("-{}{}", option.folder, to_text(value));
  });
  if (!o.init.empty()) text += "-init";
  if (o.freeze.open()) text += "-freezeDauto";
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
    if (fs::create_directory(run, error)) return sync_directory(outdir), run;
    if (error) throw IoError(fmt::format("{}: {}", run.string(), error.message()));
  }
  throw IoError(fmt::format("{}: no free number for a run folder", outdir.string()));
}

fs::path latest_snapshot(const fs::path& outdir) {
  fs::path newest;
  int64_t number = -1;
  for (const fs::path& path : entries(outdir))
    if (const int64_t n = run_number(path); n > number || (n == number && n >= 0 && path > newest)) {
      newest = path;
      number = n;
    }
  if (newest.empty()) throw IoError(fmt::format("{}: no run to resume", outdir.string()));
  const fs::path latest = latest_in(newest);
  if (latest.empty())
    throw IoError(fmt::format("{}: the newest run has no snapshot; name one of an older run with --resume FILE",
                              newest.string()));
  return latest;
}

fs::path snapshot_file(const fs::path& given) {
  std::error_code error;
  if (!fs::is_directory(given, error)) return given;
  if (const fs::path latest = latest_in(given); !latest.empty()) return latest;
  for (const char* name : {"model.safetensors", "diffusion_pytorch_model.safetensors"})  // as hubs have them
    if (fs::exists(given / name, error)) return given / name;
  throw IoError(fmt::format("{}: this folder holds no snapshot", given.string()));
}

int64_t images_in(std::string_view name, std::string_view stem, std::string_view extension) {
  if (!name.starts_with(stem) || !name.ends_with(extension) || name.size() < stem.size() + extension.size()) return -1;
  const std::string number(name.substr(stem.size(), name.size() - stem.size() - extension.size()));
  const size_t end = std::min(number.find('_'), number.size());
  const std::string thousands = number.substr(0, end), rest = number.substr(std::min(end + 1, number.size()));
  if (!all_digits(thousands) || thousands.size() > 12 ||
      (end < number.size() && (rest.size() != 3 || !all_digits(rest))))
    return -1;
  return std::stoll(thousands) * 1000 + (rest.empty() ? 0 : std::stoll(rest));
}

std::string numbered(std::string_view stem, int64_t images, std::string_view extension) {
  const std::string name = fmt::format("{}-{:06}", stem, images / 1000);
  return images % 1000 == 0 ? fmt::format("{}.{}", name, extension)
                            : fmt::format("{}_{:03}.{}", name, images % 1000, extension);
}

fs::path snapshot_path(const fs::path& run, int64_t images) {
  return run / numbered("snapshot", images, "safetensors");
}

fs::path latest_path(const fs::path& run) { return run / latest_name; }

std::vector<std::pair<int64_t, fs::path>> run_snapshots(const fs::path& run) {
  std::vector<std::pair<int64_t, fs::path>> list;
  for (const fs::path& path : numbered_snapshots(run)) list.emplace_back(snapshot_images(path), path);
  return list;
}

fs::path best_path(const fs::path& run) { return run / best_name; }

void publish(const fs::path& snapshot, const fs::path& name) {
  std::error_code error;
  TemporaryName link(name, [&](const fs::path& temporary) { fs::create_hard_link(snapshot, temporary, error); });
  if (!error) return link.commit();
  std::ifstream source(snapshot, std::ios::binary);  // a file system without links
  atomic_write(name, [&](std::ostream& out) { out << source.rdbuf(); });
}

void prune_snapshots(const fs::path& run, int keep) {
  if (keep <= 0) return;
  const std::vector<fs::path> snapshots = numbered_snapshots(run);
  std::error_code ignored;
  for (size_t i = 0; i + size_t(keep) < snapshots.size(); ++i) fs::remove(snapshots[i], ignored);
}

void remove_strays(const fs::path& run) {
  std::error_code ignored;
  for (const fs::path& path : entries(run))
    if (is_temporary(path)) fs::remove(path, ignored);
}

void rewind_stats(const fs::path& run, int64_t tick) {
  const fs::path path = run / "stats.jsonl";
  if (!fs::exists(path)) return;
  std::string kept;
  read_json_lines(path, [&](const nlohmann::json& record, std::string_view line) {
    const nlohmann::json::json_pointer key("/Progress~1tick/mean");
    const bool keep = record.contains(key) && record[key].is_number() && record[key] < tick;
    if (keep) kept.append(line) += '\n';
    return keep;
  });
  write_text(path, kept);
}

}  // namespace firn
