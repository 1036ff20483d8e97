// What a folder or zip holds before any choice is made: every readable image with its size and label, and every broken
// one with the reason. Data sets select from it; `gan-data inspect` prints it.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/dataset.h"
#include "io/image_source.h"

namespace firn {

struct DatasetIndex {
  struct Item {
    std::string name;
    int64_t entry;
    int label;
    ImageInfo info;
  };
  std::vector<Item> items;  // sorted by name
  std::vector<BadImage> bad;
  std::vector<std::string> class_names;  // empty: no labels
};

struct Labels {
  std::map<std::string, int, std::less<>> of;  // by file name
  std::vector<std::string> class_names;        // empty: no labels
};

// dataset.json of dataset_tool: {"labels": [[file, class or one-hot], ...] | null, "classes": [name, ...]}. IoError.
Labels parse_labels(std::string_view json, std::string_view name);

std::string reason_without_name(std::string_view message, std::string_view name);  // "NAME: reason" -> "reason"

// Whether the pixels can be read, not the header alone; if not, the reason goes to `bad`.
bool decodes(const ImageSource& source, const DatasetIndex::Item& item, std::vector<BadImage>& bad);

enum class ReadLabels { no, yes };
DatasetIndex index_dataset(const ImageSource& source, ReadLabels labels);

}  // namespace firn
