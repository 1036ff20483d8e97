#include "tools/metric_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <climits>

#include "base/error.h"
#include "io/file_kind.h"
#include "io/files.h"
#include "io/json.h"
#include "io/plot.h"
#include "training/run/metric_log.h"
#include "training/run/resume.h"
#include "training/run/run_folder.h"

namespace firn::tools {
namespace fs = std::filesystem;
namespace {

bool is_run(const fs::path& what) {
  std::error_code none;
  return fs::is_directory(what, none) && fs::exists(what / "training_options.json", none);
}

bool is_snapshot(const fs::path& what) {
  std::error_code none;
  return is_run(what) || (fs::is_regular_file(what, none) && what.extension() == ".safetensors");
}

TrainOptions options_of(const fs::path& run) {
  const fs::path file = run / "training_options.json";
  return train_options_from_json(parse_json(read_text(file), file.string(), {.depth = 8, .values = 1 << 20}),
                                 file.string());
}

}  // namespace

std::shared_ptr<const ImageSet> images_of(const MetricArguments& a, const LoadedGenerator& loaded, uint64_t seed,
                                          const std::string& name) {
  return generated_images(loaded.g, {.seed = seed, .class_counts = loaded.source.class_counts, .truncation = a.trunc},
                          name);
}

OpenedImages open_images(const MetricArguments& a, const fs::path& what, const Device& device) {
  if (is_snapshot(what)) {
    const LoadedGenerator loaded = load_generator(what, a.weights, DType::f32, device);
    return {images_of(a, loaded, a.seed, what.string()), loaded.g, nullptr};
  }
  DatasetOptions options{.path = what, .resolution = a.resolution, .resize = a.resize, .use_labels = a.cond};
  options.folder = a.folder;
  const auto data = std::make_shared<const Dataset>(options);
  return {stored_images(data, what.string()), nullptr, data};
}

RunToMeasure open_run(const MetricArguments& a, const fs::path& run) {
  if (!is_run(run))
    throw IoError(
        fmt::format("{} is no run folder; a snapshot or other images need a second argument, what they are "
                    "compared with",
                    run.string()));
  RunToMeasure of;
  of.snapshots = run_snapshots(run);
  if (of.snapshots.empty()) throw IoError(fmt::format("{}: there is no numbered snapshot in it", run.string()));
  const TrainOptions options = options_of(run);
  DatasetOptions data = options.data;
  data.mirror = false;
  data.use_labels = options.cond || a.cond;
  of.reals = stored_images(std::make_shared<const Dataset>(data), "training images");
  of.metrics = options.metrics.names;
  of.features = options.metrics.features;
  of.seed = seed_for(options.seed, SeedUse::grid);
  if (!data.holdout.any()) return of;
  data.held_out = true;
  of.left_out = stored_images(std::make_shared<const Dataset>(data), "left-out images");
  return of;
}

std::vector<MetricName> metric_names(const MetricArguments& a, const std::vector<std::string>& own,
                                     const WeightFiles& files, int64_t fakes) {
  std::vector<std::string> names = !a.metrics.empty() ? a.metrics : own;
  if (names.empty()) names = default_metrics({.features = a.features}, 25000);
  settle_networks(names, files);
  std::vector<MetricName> parsed = parse_metrics(names, files);
  for (MetricName& name : parsed) name.fakes = std::min(name.fakes, fakes);
  return parsed;
}

int plot_runs(const std::vector<std::string>& runs, const std::vector<std::string>& metrics, const std::string& svg) {
  Chart chart{.x_title = "thousands of images", .series = {}};
  for (const std::string& run : runs) {
    if (!is_run(run)) throw IoError(fmt::format("{} is no run folder: it has no curves", run));
    const MetricLog log(run);
    for (const auto& [name, curve] : log.curves()) {
      const bool wanted = metrics.empty()
                              ? chart.y_title.empty() || chart.y_title == name
                              : std::ranges::any_of(metrics, [&](const std::string& m) {
                                  return name == m || name.starts_with(m + "_") || name.starts_with(m + "-");
                                });
      if (!wanted) continue;
      if (chart.y_title.empty()) chart.y_title = name;
      Series series{.name = fs::path(run).lexically_normal().filename().string(), .x = {}, .y = {}};
      if (series.name.empty()) series.name = fs::path(run).parent_path().filename().string();
      if (!metrics.empty() && name != chart.y_title) series.name += " " + name;
      for (const auto& [images, value] : curve.points) {
        series.x.push_back(double(images) / 1000);
        series.y.push_back(value);
      }
      chart.series.push_back(std::move(series));
    }
  }
  if (chart.series.empty())
    throw ConfigError(fmt::format("none of these runs has measured {}",
                                  metrics.empty() ? "anything" : fmt::format("{}", fmt::join(metrics, ", "))));
  write_text(svg, svg_file(chart));
  fmt::print("wrote {}\n", svg);
  return 0;
}

}  // namespace firn::tools
