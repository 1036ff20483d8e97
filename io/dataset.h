// A set of equally sized images in a folder or a zip of NVIDIA's dataset_tool layout, with optional integer labels from
// dataset.json or from the outermost folders. Headers are read at open; pixels are decoded on demand, from any thread.
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

#include "base/option.h"
#include "io/dataset_index.h"
#include "io/fingerprint.h"
#include "io/images.h"

namespace firn {

// Items that training leaves out: a number of them, or a part of all.
struct Holdout {
  int64_t count = 0;
  double part = 0;
  bool any() const { return count > 0 || part > 0; }
};
Holdout parse_holdout(const std::string& text);  // "500" or "0.1"; ConfigError
std::string to_string(const Holdout& holdout);

struct DatasetOptions {
  std::filesystem::path path;
  int resolution = 0;          // 0: the commonest size
  int width = 0, height = 0;   // a rectangular wish; 0: resolution; one of them alone keeps the commonest aspect
  int channels = 0;            // 0: 4 where something is transparent, else 3 where there is colour, else 1
  Background background = {};  // what shows through where alpha is given up, and around what is padded
  bool resize = false;         // centre-crop and resize; otherwise a wrong size is an IoError naming files and sizes
  bool pad = false;            // all of each image on the background: at its own size or, with `resize`, fitted
  bool rescale = false;        // 16-bit samples from the set's own range, not from 65535
  bool mirror = false;         // items n..2n-1 are items 0..n-1 mirrored
  int64_t subset = 0;          // that many items drawn by `seed`, in file order; 0: all
  Holdout holdout = {};        // items that are left out, to be compared with: others than those of `subset`
  bool held_out = false;       // the set is of those
  uint64_t seed = 0;
  std::vector<int> classes = {};  // keep only these; they become classes 0, 1, ... in the order given
  bool use_labels = true;         // false: label() is -1 and num_classes() 0, and labels are not even read
  bool all_labels = true;         // false: images without a class stay, and what is wrong with labels is a note
  std::string folder = {};        // only what lies in it; ".": all, where train/, val/, ... would be asked about
  bool folder_classes = false;    // outermost folders are classes also where they look like shards or splits
  bool by_number = true;          // class folders: 2 before 10; false: as characters sort

  void visit(OptionVisitor& v);  // the rows of those that a run keeps
};

std::string to_string(Background background);  // "white" or "#rrggbb"

// Centred on the background, which is transparent where the image has alpha. ConfigError when it is larger.
Image padded(const Image& image, int width, int height, Background background);

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
  const std::vector<int64_t>& class_counts() const { return class_counts_; }    // stored items of each class
  bool classes_are_folders() const { return classes_are_folders_; }             // else dataset.json gave them
  const std::string& label_problem() const { return label_problem_; }           // of dataset.json; empty: none
  int label(int64_t i) const { return item(i).label; }                          // -1: none
  std::string label_json(int64_t i) const;  // also of labels that are no classes; empty: none
  const std::string& name(int64_t i) const { return item(i).name; }

  Fingerprint fingerprint() const;  // of the stored items
  // SHA-256 of the files of all items, their labels, and what is made of them. Reads every file;
  // one that is broken counts as such.
  std::string content_hash() const;

  // Thread-safe. IoError when the file turns out to be broken, SystemError when it cannot be read.
  Image load(int64_t i) const;

  // What a careful owner would want to know: files that are passed over, images that are treated unlike the others.
  const std::vector<std::string>& notes() const { return notes_; }

  // Those skipped at open, then those that load() found broken.
  std::vector<BadImage> bad_images() const;

  // The order of one epoch: a permutation of [0, size) that depends on nothing but the arguments.
  static std::vector<int64_t> epoch_order(int64_t size, uint64_t seed, int64_t epoch);

 private:
  using Item = DatasetIndex::Item;
  const Item& item(int64_t i) const;
  Image prepared(const Item& item) const;
  Image fitted(const Image& image) const;

  void take_labels(DatasetIndex& index, const DatasetOptions& options);
  void decide_size(std::vector<Item>& items, const DatasetOptions& options);
  void decide_channels(std::vector<Item>& items, const DatasetOptions& options);
  void decide_range(const std::vector<Item>& items, const DatasetOptions& options);
  void require_size(std::vector<Item>& items);
  void count_classes();

  std::unique_ptr<ImageSource> source_;
  std::vector<Item> items_;
  std::vector<std::string> class_names_;
  std::vector<int64_t> class_counts_;
  std::map<std::string, std::string, std::less<>> other_labels_;
  std::string label_problem_;
  std::vector<std::string> notes_;
  int width_ = 0, height_ = 0, channels_ = 0, num_classes_ = 0, white_ = 0;
  bool mirror_ = false, resize_ = false, pad_ = false, classes_are_folders_ = false;
  Background background_;
  mutable std::mutex bad_mutex_;
  mutable std::vector<BadImage> bad_;
};

}  // namespace firn
