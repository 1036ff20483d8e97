// Names in and around a run folder: OUTDIR/NNNNN-DESCRIPTION/snapshot-NNNNNN.safetensors, numbered by thousands of
// images, and snapshot-NNNNNN_NNN between two thousands.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "training/options/overlay.h"

namespace firn {

// As stylegan2-ada-pytorch names them: dataset[-cond][-subsetN][-mirror]-cfg[-what was set]...
std::string run_description(const TrainOptions& options, const Overlay& given);

std::filesystem::path create_run_folder(const std::filesystem::path& outdir, const std::string& description);
// The latest snapshot of the newest run in OUTDIR. IoError when that one has none: never an older run's instead.
std::filesystem::path latest_snapshot(const std::filesystem::path& outdir);
// What a user gave as a snapshot: a run folder stands for its latest, a model hub's for its weights. IoError when it
// holds none.
std::filesystem::path snapshot_file(const std::filesystem::path& given);

std::filesystem::path snapshot_path(const std::filesystem::path& run, int64_t images);
std::string numbered(std::string_view stem, int64_t images,
                     std::string_view extension);  // fakes-000012.png, fakes-000012_345.png

// Images seen, of a name like those: images_in("fakes-000012_345.png", "fakes-", ".png"); -1 for any other.
int64_t images_in(std::string_view name, std::string_view stem, std::string_view extension);

std::filesystem::path latest_path(const std::filesystem::path& run);

// Numbered snapshots, by the images that they had seen.
std::vector<std::pair<int64_t, std::filesystem::path>> run_snapshots(const std::filesystem::path& run);
std::filesystem::path best_path(const std::filesystem::path& run);

// Makes `name` the same file as `snapshot`, at once.
void publish(const std::filesystem::path& snapshot, const std::filesystem::path& name);
void prune_snapshots(const std::filesystem::path& run, int keep);  // 0: all stay
// What killed saves left behind. Only the holder of the folder's lock may call it: others would lose their files.
void remove_strays(const std::filesystem::path& run);

// Cuts what stats.jsonl says about `tick` and later: a killed run had gone on after its last snapshot.
void rewind_stats(const std::filesystem::path& run, int64_t tick);

}  // namespace firn
