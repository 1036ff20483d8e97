#include "io/layout.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <climits>
#include <optional>

#include "base/text.h"
#include "io/labels.h"

namespace firn {
namespace {

bool digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

void for_each_part(std::string_view name, const auto& use) {
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    use(name.substr(begin, end - begin));
    begin = end + 1;
  }
}

std::string_view folder_of(std::string_view name) { return name.substr(0, name.rfind('/') + 1); }
std::string_view file_of(std::string_view name) { return name.substr(name.rfind('/') + 1); }

// The number that a file name ends with: 29 of 00000_00029.png.
std::optional<uint64_t> number_of(std::string_view name) {
  std::string_view stem = file_of(name);
  stem = stem.substr(0, stem.rfind('.'));
  const size_t begin = stem.find_last_not_of("0123456789") + 1;
  if (begin == stem.size() || stem.size() - begin > 18) return {};
  return std::stoull(std::string(stem.substr(begin)));
}

// 00000/, 01000/, ... hold the images numbered from there on; 00000/, 00001/, ... the first, the second thousand.
bool are_shards(std::span<const std::string> names, const std::set<std::string, std::less<>>& folders) {
  const size_t width = folders.begin()->size();
  if (width < 3 || width > 18) return false;
  unsigned long long step = ULLONG_MAX, before = 0;
  for (const std::string& f : folders) {
    if (f.size() != width || !digits(f)) return false;
    if (f != *folders.begin()) step = std::min(step, std::stoull(f) - before);
    before = std::stoull(f);
  }
  const auto hold_their_numbers = [&](uint64_t folder_step, uint64_t per) {
    return std::ranges::all_of(names, [&](const std::string& name) {
      const std::string_view folder = first_folder(name);
      const auto number = number_of(name);
      return folder.empty() || (number && *number / per == std::stoull(std::string(folder)) / folder_step);
    });
  };
  if (step >= 10)
    return std::ranges::any_of(std::array<uint64_t, 2>{step, 1000}, [&](uint64_t s) {
      return std::ranges::all_of(folders, [&](const auto& f) { return std::stoull(f) % s == 0; }) &&
             hold_their_numbers(s, s);
    });
  for (const uint64_t per : {1000, 10000, 100, 512, 1024})
    if (hold_their_numbers(1, per)) return true;
  return false;
}

bool are_splits(const std::set<std::string, std::less<>>& folders) {
  static const std::set<std::string_view> known{"train", "training", "val",  "valid",   "validation", "test",
                                                "tests", "testing",  "eval", "holdout", "dev"};
  const auto is = [](const char* name) { return [=](const std::string& f) { return lower_case(f) == name; }; };
  return folders.size() >= 2 &&
         std::ranges::all_of(folders, [&](const auto& f) { return known.contains(lower_case(f)); }) &&
         (std::ranges::any_of(folders, is("train")) || std::ranges::any_of(folders, is("training")));
}

}  // namespace

std::string normalised(std::string_view name) {
  std::string slashes(name), out;
  std::ranges::replace(slashes, '\\', '/');
  for_each_part(slashes, [&](std::string_view part) {
    if (part.empty() || part == ".") return;
    if (!out.empty()) out += '/';
    out += part;
  });
  return out;
}

bool leaves_its_root(std::string_view name) {
  bool leaves = false;
  for_each_part(name, [&](std::string_view part) { leaves |= part == ".."; });
  return leaves;
}

std::string_view system_name(std::string_view part) {
  static const std::set<std::string_view> known{
      "__macosx",          ".git",        ".svn",         ".hg",         "@eadir",      "#recycle",
      "#snapshot",         "@recycle",    "lost+found",   "thumbs.db",   "ehthumbs.db", "desktop.ini",
      ".ds_store",         ".thumbnails", ".appledouble", ".trashes",    ".fseventsd",  ".spotlight-v100",
      "$recycle.bin",      ".@__thumb",   "picasa.ini",   ".picasa.ini", "icon\r",      "system volume information",
      "@recently-snapshot"};
  if (known.contains(lower_case(part)) || part.starts_with("._") || part.starts_with(".Trash-")) return "system";
  return part.starts_with('.') && part != "." && part != ".." ? "hidden" : "";
}

std::string_view system_path(std::string_view name) {
  std::string_view kind;
  for_each_part(name, [&](std::string_view part) {
    if (const auto k = system_name(part); kind != "system" && !k.empty()) kind = k;
  });
  return kind;
}

bool natural_less(std::string_view a, std::string_view b) {
  size_t i = 0, j = 0;
  const auto run = [](std::string_view text, size_t& at) {  // of digits, without zeros in front
    size_t end = at;
    while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end]))) ++end;
    while (at + 1 < end && text[at] == '0') ++at;
    const auto number = text.substr(at, end - at);
    at = end;
    return number;
  };
  while (i < a.size() && j < b.size()) {
    if (digits(a.substr(i, 1)) && digits(b.substr(j, 1))) {
      const auto x = run(a, i), y = run(b, j);
      if (x.size() != y.size()) return x.size() < y.size();
      if (x != y) return x < y;
    } else if (a[i] != b[j]) {
      return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
    } else {
      ++i, ++j;
    }
  }
  const size_t left = a.size() - i, right = b.size() - j;
  return left != right ? left < right : a < b;
}

std::string_view extension_of(std::string_view name) {
  const std::string_view file = file_of(name);
  const size_t dot = file.rfind('.');
  return dot == file.npos || dot == 0 ? "" : file.substr(dot + 1);
}

std::string_view first_folder(std::string_view name) {
  const size_t slash = name.find('/');
  return slash == name.npos ? "" : name.substr(0, slash);
}

std::string common_folder(std::span<const std::string> names) {
  if (names.empty()) return "";
  std::string_view common = folder_of(names.front());
  for (const std::string& name : names)
    while (!name.starts_with(common)) common = folder_of(common.substr(0, common.size() - 1));
  return std::string(common);
}

std::set<std::string> run_folders(std::span<const std::string> names) {
  std::set<std::string> described, shown, runs;
  for (const std::string& name : names) {
    const std::string_view file = file_of(name), ext = extension_of(name);
    if (file == "training_options.json") described.emplace(folder_of(name));
    if ((file.starts_with("snapshot-") && ext == "safetensors") || (file.starts_with("fakes-") && ext == "png") ||
        file == "reals.png")
      shown.emplace(folder_of(name));
  }
  std::ranges::set_intersection(described, shown, std::inserter(runs, runs.end()));
  return runs;
}

bool lies_in(std::string_view name, const std::set<std::string>& folders) {
  return std::ranges::any_of(folders, [&](const std::string& f) { return name.starts_with(f); });
}

Folders folders_of(std::span<const std::string> names, FolderRules rules) {
  Folders result;
  std::set<std::string, std::less<>> folders;
  for (const std::string& name : names) {
    const std::string_view folder = first_folder(name);
    if (!folder.empty() && !folders.contains(folder)) folders.emplace(folder);
  }
  if (folders.size() < 2 || folders.size() > kMostClasses) return result;
  if (!rules.always_classes) {
    if (are_splits(folders)) result.splits.assign(folders.begin(), folders.end());
    result.shards = are_shards(names, folders);
    if (result.shards || !result.splits.empty()) return result;
  }
  result.classes.assign(folders.begin(), folders.end());
  if (rules.by_number) std::ranges::sort(result.classes, natural_less);
  return result;
}

}  // namespace firn
