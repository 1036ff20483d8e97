#include "training/run/resume.h"

#include <fmt/format.h>

#include "base/error.h"
#include "io/files.h"
#include "io/json.h"

namespace firn {
namespace fs = std::filesystem;

TrainOptions resumable_options(const SafetensorsFile& snapshot, const fs::path& path) {
  TrainOptions options = snapshot_options(snapshot);
  const fs::path beside = path.parent_path() / "training_options.json";
  std::error_code none;
  if (options.data.path.is_absolute() || !fs::exists(beside, none)) return options;
  const TrainOptions run = train_options_from_json(
      parse_json(read_text(beside), beside.string(), {.depth = 8, .values = 1 << 20}), beside.string());
  // The run may have taken up the same data elsewhere since.
  const bool same = run.fingerprint.images > 0 && run.fingerprint == options.fingerprint;
  if (same || published(run).data.path == options.data.path) options.data.path = run.data.path;
  if (published(run).init == options.init) options.init = run.init;
  if (published(run).metrics.features == options.metrics.features) options.metrics.features = run.metrics.features;
  return options;
}

ResumedData check_resumed_data(TrainOptions& o, const Dataset& data, ResumeRules rules) {
  const ImageShape m = o.model.images(), there{data.height(), data.width(), data.channels()};
  const int classes = o.cond ? data.num_classes() : 0;
  const std::string where = o.data.path.string();
  if (there != m || classes != o.model.classes())
    throw ConfigError(
        fmt::format("{} has {}x{} images of {} channels and {} classes; the run to resume has {}x{}, {} and {}; "
                    "--init starts a new run from its weights",
                    where, data.width(), data.height(), data.channels(), classes, m.width, m.height, m.channels,
                    o.model.classes()));

  const bool compared = o.fingerprint.images > 0;
  std::vector<std::string> changes;
  if (compared)
    changes = differences(o.fingerprint, data.fingerprint());
  else if (data.size() != o.dataset_size)
    changes.push_back(fmt::format("it has {} images, not {}", data.size(), o.dataset_size));
  if (!changes.empty() && !rules.accept_changes)
    throw ConfigError(
        fmt::format("{} is not the data that the run began with: {}; --data says where that is, "
                    "--data-changed goes on with this",
                    where, fmt::join(changes, ", ")));

  ResumedData resumed{.remark = {}, .new_epoch = data.size() != o.dataset_size};
  if (!changes.empty())
    resumed.remark = fmt::format("changed    {}: {}{}", where, fmt::join(changes, ", "),
                                 resumed.new_epoch ? "; a new epoch begins" : "");
  else if (!compared)
    resumed.remark = "the snapshot has no fingerprint of its data: that it is the same cannot be checked";
  o.dataset_size = data.size();
  o.class_counts = o.cond ? data.class_counts() : std::vector<int64_t>{};
  o.fingerprint = data.fingerprint();
  return resumed;
}

}  // namespace firn
