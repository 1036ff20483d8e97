// What a folder or zip holds before any choice is made: every readable image with its size and label, every broken one
// with the reason, and what was passed over. Data sets select from it; `gan-data inspect` prints it.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/image_source.h"
#include "io/images.h"
#include "io/layout.h"

namespace firn {

using BadImage = std::pair<std::string, std::string>;  // name, reason

struct IndexOptions {
  bool labels = true;       // false: not even read
  std::string folder = {};  // only what lies in it; ".": all, where train/, val/, ... would be asked about
  FolderRules rules = {};
};

struct DatasetIndex {
  struct Item {
    std::string name;
    int64_t entry;
    int label;  // -1: none
    ImageInfo info;
  };
  std::vector<Item> items;  // in the order of the source
  std::vector<BadImage> bad;
  Counts passed_over;
  Folders folders;                       // as seen from inside the folders around all images
  std::vector<std::string> class_names;  // empty: no labels
  bool classes_are_folders = false;
  std::string label_problem;  // why dataset.json gives no classes, or not to all images
  std::map<std::string, std::string, std::less<>> other_labels;  // JSON by item name, where labels are no classes
};

DatasetIndex index_dataset(const ImageSource& source, const IndexOptions& options);

// "3 .txt, 1 HEIC image, 2 system files"
std::string to_string(const Counts& counts);

// "NAME: reason" -> "reason"
std::string reason_without_name(std::string_view message, std::string_view name);

// Runs `read`; what is wrong with the image's content, or nothing. Failures of the system are thrown on.
std::optional<std::string> content_problem(std::string_view name, const std::function<void()>& read);

// Whether the pixels can be read, not the header alone; if not, the reason goes to `bad`.
bool decodes(const ImageSource& source, const DatasetIndex::Item& item, std::vector<BadImage>& bad);

}  // namespace firn
