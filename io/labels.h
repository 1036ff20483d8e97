// dataset.json of NVIDIA's dataset_tool: {"labels": [[file, label], ...] | null, "classes": [name, ...]}.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace firn {

inline constexpr int kMostClasses = 1 << 16;  // a larger label is a mistake, and would size an embedding

// Labels that are integers or one-hot vectors are classes; any others are kept as they are, with what they are.
struct Labels {
  std::map<std::string, int, std::less<>> of;              // by normalised file name
  std::vector<std::string> class_names;                    // empty: no classes
  bool named = false;                                      // by "classes", not by number
  std::map<std::string, std::string, std::less<>> others;  // JSON, where labels are no classes
  std::string kind;                                        // of those: "vectors of 3 numbers", ...
};

// IoError for what is no such file: classes that are negative, too large or out of range, a file labelled twice, ...
Labels parse_labels(std::string_view json, std::string_view name);

}  // namespace firn
