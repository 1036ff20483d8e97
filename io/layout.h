// What the names in a set mean: which files are an owner's images, and which folders are classes. Nothing is read.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace firn {

using Counts = std::map<std::string, int64_t>;  // what, how many

// With '/' between its parts, and without "./", a leading '/' or an empty part.
std::string normalised(std::string_view name);
bool leaves_its_root(std::string_view name);  // it has a part ".."

// "system" for what file managers and storage boxes leave behind, "hidden" for other names with a dot in front, else
// "". `system_name` is asked about one part of a path, `system_path` about all of them.
std::string_view system_name(std::string_view part);
std::string_view system_path(std::string_view name);

// Digits as numbers: 2 < 10, img2 < img10; then by character.
bool natural_less(std::string_view a, std::string_view b);

std::string_view extension_of(std::string_view name);        // "" or "jpg", as it is written
std::string_view first_folder(std::string_view name);        // "" for a loose file
std::string common_folder(std::span<const std::string> of);  // "photos/" or "a/b/" around all of them, or ""

// Folders of runs among names: training_options.json beside snapshots or sheets. Each ends with '/', or is "" for the
// root itself.
std::set<std::string> run_folders(std::span<const std::string> names);
bool lies_in(std::string_view name, const std::set<std::string>& folders);

// Outermost folders of a set (names as seen from inside `common_folder`).
struct Folders {
  std::vector<std::string> classes;  // sorted
  bool shards = false;               // they only keep directories small: 00000/, 01000/, ...
  std::vector<std::string> splits;   // train, val, ...
  std::vector<std::string> empty;    // no classes, for no image in them can be read
};
struct FolderRules {
  bool always_classes = false;  // also what looks like shards or splits
  bool by_number = true;        // 2 before 10
};
Folders folders_of(std::span<const std::string> names, FolderRules rules);

}  // namespace firn
