#include "io/dataset_index.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "io/labels.h"
#include "io/parallel.h"

namespace firn {
namespace {

bool named_as_image(std::string_view name) {
  static const std::set<std::string_view> known{"png", "jpg", "jpeg", "jpe", "jfif", "bmp", "webp"};
  return known.contains(lower_case(extension_of(name)));
}

constexpr int64_t first_bytes = 4 << 10;  // hold most headers; metadata of photographs can push them back

// The orientation of a PNG may stand behind its pixels. That of a square does not change its size, and can wait.
bool may_be_turned(const ImageInfo& info) {
  return info.kind == ImageKind::png && info.orientation == 1 && info.width != info.height;
}

ImageInfo probe(const ImageSource& source, int64_t entry, std::string_view name, std::vector<std::byte> head) {
  Turn turn;
  for (int64_t limit = first_bytes;; limit = limit == first_bytes ? 256 << 10 : ImageSource::largest) {
    if (limit > first_bytes) head = source.read(entry, limit);
    const bool whole = int64_t(head.size()) < limit || limit == ImageSource::largest;
    try {
      const ImageInfo info = image_info(head, name);
      if (whole || !may_be_turned(info)) return info;
      if (!turn) turn = turn_for(info);
    } catch (const IoError&) {
      if (whole) throw;
    }
  }
}

// One entry after its first bytes were seen: an image, a broken one, or something that is passed over.
struct Seen {
  ImageInfo info;
  std::string problem, passed_over;  // both empty: an image
};

Seen look_at(const ImageSource& source, int64_t entry) {
  const ImageSource::Entry& e = source.entries()[size_t(entry)];
  const std::string& name = e.name;
  Seen seen;
  std::vector<std::byte> head;
  std::string problem = e.problem;
  if (problem.empty()) problem = content_problem(name, [&] { head = source.read(entry, first_bytes); }).value_or("");
  const ImageKind kind = kind_of(head);
  if (kind != ImageKind::none && !readable(kind)) {
    seen.passed_over = fmt::format("{} image", name_of(kind));
  } else if (kind == ImageKind::none && !named_as_image(name)) {
    const auto ext = printable(extension_of(name), 12);
    seen.passed_over = ext.empty() ? "file without an extension" : fmt::format(".{}", ext);
  } else if (problem.empty()) {
    problem = content_problem(name, [&] { seen.info = probe(source, entry, name, std::move(head)); }).value_or("");
  }
  seen.problem = std::move(problem);
  return seen;
}

struct Candidate {
  DatasetIndex::Item item;
  std::string inner, problem;  // the name as seen from inside the folders around all images
};

std::vector<std::string> inner_names(const std::vector<Candidate>& candidates) {
  std::vector<std::string> names;
  for (const Candidate& c : candidates) names.push_back(c.inner);
  return names;
}

// The entries that are asked for and no system files or outputs of runs.
std::vector<int64_t> wanted_entries(const ImageSource& source, const std::string& folder, Counts& passed_over) {
  std::vector<std::string> names;
  for (const auto& entry : source.entries()) names.push_back(entry.name);
  const std::set<std::string> runs = run_folders(names);
  const std::string inside = folder.empty() || folder == "." ? "" : normalised(folder) + "/";
  std::vector<int64_t> wanted;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!names[i].starts_with(inside)) continue;
    if (const auto kind = system_path(names[i]); !kind.empty())
      ++passed_over[fmt::format("{} file", kind)];
    else if (lies_in(names[i], runs))
      ++passed_over["file of earlier runs"];
    else
      wanted.push_back(int64_t(i));
  }
  if (wanted.empty() && !inside.empty())
    throw ConfigError(fmt::format("{} has no folder {} with files in it", source.where(), printable(folder)));
  return wanted;
}

// Labels of dataset.json, or nothing where it gives none. `inner` names come without `outer`.
void label_from_json(const ImageSource& source, int64_t entry, const std::string& outer,
                     std::vector<Candidate>& candidates, DatasetIndex& index) {
  const std::string name = printable(source.where() + "/" + source.entries()[size_t(entry)].name);
  Labels labels;
  const auto problem = content_problem(name, [&] {
    const auto bytes = source.read(entry);
    labels = parse_labels({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, name);
  });
  if (problem) {
    index.label_problem = fmt::format("dataset.json cannot be used: {}", *problem);
    return;
  }
  if (labels.of.empty() && labels.others.empty()) return;
  size_t unlabelled = 0, labelled = 0;
  std::string first;
  for (Candidate& c : candidates) {
    const auto find = [&](const auto& map) {
      const auto found = map.find(c.inner);
      return found == map.end() ? map.find(outer + c.inner) : found;
    };
    if (const auto found = find(labels.of); found != labels.of.end()) {
      c.item.label = found->second;
    } else if (const auto other = find(labels.others); other != labels.others.end()) {
      index.other_labels.emplace(c.item.name, other->second);
    } else {
      if (c.problem.empty() && ++unlabelled == 1) first = c.item.name;
      continue;
    }
    ++labelled;
  }
  if (labelled == 0 && unlabelled > 0) {
    index.label_problem =
        fmt::format("dataset.json labels other files: none of the images, {} the first", printable(first));
    return;
  }
  index.class_names = std::move(labels.class_names);
  if (!labels.others.empty()) index.label_problem = fmt::format("its labels are {}, not classes", labels.kind);
  if (unlabelled > 0)
    index.label_problem +=
        fmt::format("{}dataset.json has no label for {} of {} images, {} the first",
                    index.label_problem.empty() ? "" : "; ", unlabelled, candidates.size(), printable(first));
}

// Whether the classes lie below train/, val/, ...
bool label_from_folders(std::vector<Candidate>& candidates, const IndexOptions& options, DatasetIndex& index) {
  index.folders = folders_of(inner_names(candidates), options.rules);
  const bool below_splits = !index.folders.splits.empty() && options.folder == ".";
  if (below_splits) {  // one set; its classes lie below
    for (Candidate& c : candidates) c.inner = c.inner.substr(c.inner.find('/') + 1);
    index.folders = folders_of(inner_names(candidates), options.rules);
    index.folders.splits.clear();
  }
  if (!options.labels) return below_splits;
  index.class_names = index.folders.classes;
  index.classes_are_folders = !index.class_names.empty();
  std::map<std::string, int, std::less<>> number;
  for (const std::string& name : index.class_names) number.emplace(name, int(number.size()));
  for (Candidate& c : candidates)
    if (const auto found = number.find(first_folder(c.inner)); found != number.end()) c.item.label = found->second;
  return below_splits;
}

// Folders beside those of the classes that hold other files only, or nothing.
std::vector<std::string> folders_without(const std::vector<std::string>& classes, std::span<const std::string> others,
                                         const std::string& outer, bool below_splits) {
  std::set<std::string> found;
  for (const std::string& name : others) {
    if (!name.starts_with(outer)) continue;
    std::string_view inner = std::string_view(name).substr(outer.size());
    if (below_splits) inner.remove_prefix(inner.find('/') + 1);
    found.emplace(first_folder(inner));
  }
  found.erase("");
  for (const std::string& name : classes) found.erase(name);
  std::vector<std::string> sorted(found.begin(), found.end());
  std::ranges::sort(sorted, natural_less);
  return sorted;
}

}  // namespace

std::string to_string(const Counts& counts) {
  std::string text;
  for (const auto& [kind, count] : counts) {
    const size_t noun = std::min({kind.find(" of "), kind.find(" to "), kind.find(" without "), kind.size()});
    const bool plural = count != 1 && !kind.starts_with('.');
    text += fmt::format("{}{} {}{}{}", text.empty() ? "" : ", ", count, kind.substr(0, noun), plural ? "s" : "",
                        kind.substr(noun));
  }
  return text;
}

std::string reason_without_name(std::string_view message, std::string_view name) {
  const std::string prefix = printable(name) + ": ";
  return std::string(message.starts_with(prefix) ? message.substr(prefix.size()) : message);
}

std::optional<std::string> content_problem(std::string_view name, const std::function<void()>& read) {
  try {
    read();
    return {};
  } catch (const SystemError&) {
    throw;
  } catch (const IoError& e) {
    return reason_without_name(e.what(), name);
  }
}

bool decodes(const ImageSource& source, const DatasetIndex::Item& item, std::vector<BadImage>& bad) {
  const auto problem = content_problem(item.name, [&] { decode_image(source.read(item.entry), item.name); });
  if (problem) bad.emplace_back(item.name, *problem);
  return !problem;
}

DatasetIndex index_dataset(const ImageSource& source, const IndexOptions& options) {
  DatasetIndex index;
  index.passed_over = source.passed_over();
  const std::vector<int64_t> wanted = wanted_entries(source, options.folder, index.passed_over);
  std::vector<Seen> seen(wanted.size());
  for_each_in_parallel(wanted.size(), 64, [&](size_t i) { seen[i] = look_at(source, wanted[i]); });

  std::vector<Candidate> candidates;
  std::vector<std::string> others;  // that are passed over
  std::vector<std::string> around;  // what the folder around all must hold: the images and dataset.json
  std::vector<int64_t> json;
  for (size_t i = 0; i < wanted.size(); ++i) {
    const std::string& name = source.entries()[size_t(wanted[i])].name;
    if (name == "dataset.json" || name.ends_with("/dataset.json")) {
      json.push_back(wanted[i]);
    } else if (!seen[i].passed_over.empty()) {
      ++index.passed_over[seen[i].passed_over];
      others.push_back(name);
      continue;
    } else {
      candidates.push_back({{name, wanted[i], -1, seen[i].info}, {}, std::move(seen[i].problem)});
    }
    around.push_back(name);
  }
  const std::string outer = common_folder(around);
  for (Candidate& c : candidates) c.inner = c.item.name.substr(outer.size());
  for (const int64_t entry : json) {
    const bool inside = source.entries()[size_t(entry)].name == outer + "dataset.json";
    if (inside && options.labels) label_from_json(source, entry, outer, candidates, index);
    if (!inside) ++index.passed_over[".json"];
  }
  bool below_splits = false;
  if (index.class_names.empty() && index.other_labels.empty())
    below_splits = label_from_folders(candidates, options, index);
  others.insert(others.end(), source.folders().begin(), source.folders().end());
  if (index.classes_are_folders) index.folders.empty = folders_without(index.class_names, others, outer, below_splits);

  for (Candidate& c : candidates) {
    if (c.problem.empty())
      index.items.push_back(std::move(c.item));
    else
      index.bad.emplace_back(c.item.name, c.problem);
  }
  return index;
}

}  // namespace firn
