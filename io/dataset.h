// A set of equally sized images in a folder or a zip of NVIDIA's dataset_tool layout, with optional integer labels from
// dataset.json or from first-level folders. Headers are read at open; pixels are decoded on demand, from any thread.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "io/fingerprint.h"
#include "io/images.h"

namespace firn {

class ImageSource;

struct DatasetOptions {
  std::filesystem::path path;
  int resolution = 0;         // 0: as stored
  int width = 0, height = 0;  // a rectangular wish; 0: resolution
  int channels = 0;           // 0: those of the first image
  bool resize = false;        // centre-crop and resize; otherwise a wrong size is an IoError naming file and sizes
  bool mirror = false;        // items n..2n-1 are items 0..n-1 mirrored
  int64_t subset = 0;         // that many items drawn by `seed`, in file order; 0 or more than there are: all
  uint64_t seed = 0;
  std::vector<int> classes = {};  // keep only these; they become classes 0, 1, ... in the order given
  bool use_labels = true;         // false: label() is -1 and num_classes() 0, and labels are not even read
};

using BadImage = std::pair<std::string, std::string>;  // name, reason

class Dataset {
 public:
  explicit Dataset(const DatasetOptions& options);  // IoError for a set that is missing, empty or contradictory
  Dataset(std::unique_ptr<ImageSource> source, const DatasetOptions& options);
  ~Dataset();

  int64_t size() const { return int64_t(items_.size()) * (mirror_ ? 2 : 1); }
  int64_t stored() const { return int64_t(items_.size()); }  // without mirrored ones
  int width() const { return width_; }
  int height() const { return height_; }
  int channels() const { return channels_; }
  int num_classes() const { return num_classes_; }                              // 0: no labels
  const std::vector<std::string>& class_names() const { return class_names_; }  // num_classes() of them
  int label(int64_t i) const { return item(i).label; }                          // -1: none
  const std::string& name(int64_t i) const { return item(i).name; }

  Fingerprint fingerprint() const;  // of the stored items

  Image load(int64_t i) const;  // thread-safe; IoError when the file turns out to be broken

  // Those skipped at open, then those that load() found broken.
  std::vector<BadImage> bad_images() const;

  // The order of one epoch: a permutation of [0, size) that depends on nothing but the arguments.
  static std::vector<int64_t> epoch_order(int64_t size, uint64_t seed, int64_t epoch);

 private:
  struct Item {
    std::string name;
    int64_t entry;
    int label;
    ImageInfo info;
  };
  const Item& item(int64_t i) const;

  std::unique_ptr<ImageSource> source_;
  std::vector<Item> items_;
  std::vector<std::string> class_names_;
  int width_ = 0, height_ = 0, channels_ = 0, num_classes_ = 0;
  bool mirror_ = false, resize_ = false;
  mutable std::mutex bad_mutex_;
  mutable std::vector<BadImage> bad_;
};

}  // namespace firn
