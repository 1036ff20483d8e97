// What gan-metrics measures: sets of images by what they are called, and the snapshots of a run.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "metrics/comparison.h"
#include "tools/network.h"

namespace firn::tools {

struct MetricArguments {
  std::vector<std::string> metrics, features;
  bool resize = false, cond = false;
  int resolution = 0;
  std::string folder, weights;
  uint64_t seed = 0;
  double trunc = 1;
};

struct OpenedImages {
  std::shared_ptr<const ImageSet> images;
  std::shared_ptr<const Generator> g;   // null: stored images,
  std::shared_ptr<const Dataset> data;  // which are here
};
// A folder or zip of images, a snapshot, or a run folder, which stands for its latest one.
OpenedImages open_images(const MetricArguments& a, const std::filesystem::path& what, const Device& device);
std::shared_ptr<const ImageSet> images_of(const MetricArguments& a, const LoadedGenerator& loaded, uint64_t seed,
                                          const std::string& name);

struct RunToMeasure {
  uint64_t seed = 0;                                                 // of the images that it measures itself
  std::shared_ptr<const ImageSet> reals, left_out;                   // what it was trained on; what not, or null
  std::vector<std::pair<int64_t, std::filesystem::path>> snapshots;  // by the images that they had seen
  std::vector<std::string> metrics, features;                        // what it measures itself, with these weights
};
// IoError for a folder that is no run, or has no numbered snapshot.
RunToMeasure open_run(const MetricArguments& a, const std::filesystem::path& run);

// Those asked for, else `own`, else a choice of what the weights at hand allow; never of more images than there are.
std::vector<MetricName> metric_names(const MetricArguments& a, const std::vector<std::string>& own,
                                     const WeightFiles& files, int64_t fakes);

// The curves that runs have written, of these metrics or of all, one chart a score. 0.
int plot_runs(const std::vector<std::string>& runs, const std::vector<std::string>& metrics, const std::string& svg);

}  // namespace firn::tools
