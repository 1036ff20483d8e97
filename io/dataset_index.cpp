#include "io/dataset_index.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <set>
#include <thread>

#include "io/files.h"
#include "io/json.h"
#include "kernels/error.h"

namespace firn {
namespace {

using Json = nlohmann::json;
constexpr int most_classes = 1 << 16;  // a larger label is a mistake, and would size an embedding

int class_of(const Json& label, const auto& fail) {
  if (label.is_number_integer()) {
    const auto value = label.get<int64_t>();
    if (label.is_number_unsigned() && label.get<uint64_t>() >= most_classes) fail("its label is too large");
    if (value < 0) fail("its label is negative");
    return int(value);
  }
  if (!label.is_array()) fail("its label is neither an integer nor a one-hot vector");
  int hot = -1;
  for (size_t i = 0; i < label.size(); ++i) {
    if (!label[i].is_number()) fail("its label is not numeric");
    const double value = label[i].get<double>();
    if (value != 0 && (value != 1 || hot >= 0)) fail("its label vector is not one-hot");
    if (value == 1) hot = int(i);
  }
  if (hot < 0 || label.size() > most_classes) fail("its label vector is not one-hot");
  return hot;
}

std::string extension(std::string_view name) {
  const size_t dot = name.find_last_of("./");
  if (dot == name.npos || name[dot] == '/') return "";
  std::string text(name.substr(dot + 1));
  for (char& c : text) c = char(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool hidden(std::string_view name) {
  return name.starts_with('.') || name.find("/.") != name.npos || name.starts_with("__MACOSX/");
}

bool readable_kind(std::string_view ext) { return ext == "png" || ext == "jpg" || ext == "jpeg" || ext == "bmp"; }
bool other_image_kind(std::string_view ext) {
  static const std::set<std::string_view> kinds{"webp", "gif", "tif",  "tiff", "ppm",
                                                "pgm",  "jp2", "avif", "heic", "tga"};
  return kinds.contains(ext);
}

// 00000/img00000000.png: folders that only keep directories small.
bool is_dataset_tool_name(std::string_view name) {
  const auto digits = [](std::string_view s) {
    return std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  return name.size() > 17 && name[17] == '.' && digits(name.substr(0, 5)) && name.substr(5, 4) == "/img" &&
         digits(name.substr(9, 8));
}

// First-level folders are classes when there are several and nothing lies beside them.
Labels labels_from_folders(const std::vector<DatasetIndex::Item>& items) {
  Labels labels;
  std::set<std::string> folders;
  bool only_shards = true;
  for (const auto& item : items) {
    const size_t slash = item.name.find('/');
    if (slash == item.name.npos) return {};
    folders.insert(item.name.substr(0, slash));
    only_shards = only_shards && is_dataset_tool_name(item.name);
  }
  if (only_shards || folders.size() < 2 || folders.size() > most_classes) return {};
  labels.class_names.assign(folders.begin(), folders.end());
  for (const auto& item : items)
    labels.of[item.name] = int(std::distance(folders.begin(), folders.find(item.name.substr(0, item.name.find('/')))));
  return labels;
}

std::optional<Labels> labels_from_json(const ImageSource& source) {
  const auto& entries = source.entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].name != "dataset.json") continue;
    const auto bytes = source.read(int64_t(i));
    const std::string name = source.where() + "/dataset.json";
    Labels labels = parse_labels({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, name);
    if (!labels.class_names.empty()) return labels;
  }
  return {};
}

ImageInfo probe(const ImageSource& source, int64_t entry, std::string_view name) {
  // Most headers fit the first kilobytes; metadata of photographs can push them back.
  for (const int64_t limit : {int64_t{4} << 10, int64_t{256} << 10, ImageSource::largest}) {
    const auto head = source.read(entry, limit);
    try {
      return image_info(head, name);
    } catch (const IoError&) {
      if (int64_t(head.size()) < limit || limit == ImageSource::largest) throw;
    }
  }
  throw IoError(fmt::format("{}: no image header", name));
}

void for_each_in_parallel(size_t count, const auto& body) {
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i; (i = next++) < count;) body(i);
  };
  const size_t threads = std::min<size_t>({8, std::max(1u, std::thread::hardware_concurrency()), count / 64 + 1});
  std::vector<std::jthread> others;
  for (size_t t = 1; t < threads; ++t) others.emplace_back(work);
  work();
}

}  // namespace

Labels parse_labels(std::string_view text, std::string_view name) {
  const Json json = parse_json(text, name, {.depth = 4, .values = 20'000'000});
  const auto fail = [&](std::string_view what) { throw IoError(fmt::format("{}: {}", name, what)); };
  if (!json.is_object()) fail("not a JSON object");
  Labels labels;
  const auto list = json.find("labels");
  if (list == json.end() || list->is_null()) return labels;
  if (!list->is_array()) fail("\"labels\" is not a list");

  size_t classes = 0;
  for (const Json& pair : *list) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string()) fail("a label is not a pair [file, class]");
    const auto& file = pair[0].get_ref<const std::string&>();
    const auto fail_label = [&](std::string_view what) { fail(fmt::format("{}: {}", printable(file), what)); };
    const int label = class_of(pair[1], fail_label);
    classes = std::max(classes, pair[1].is_array() ? pair[1].size() : size_t(label) + 1);
    if (!labels.of.emplace(file, label).second) fail_label("it is labelled twice");
  }

  if (const auto names = json.find("classes"); names != json.end() && !names->is_null()) {
    if (!names->is_array() || names->size() > most_classes) fail("\"classes\" is not a list of names");
    for (const Json& n : *names) {
      if (!n.is_string()) fail("\"classes\" is not a list of names");
      labels.class_names.push_back(n);
    }
    if (classes > labels.class_names.size())
      fail(fmt::format("a label of {} is out of range: there are {} classes", classes - 1, labels.class_names.size()));
  } else {
    for (size_t c = 0; c < classes; ++c) labels.class_names.push_back(fmt::format("class {}", c));
  }
  return labels;
}

std::string reason_without_name(std::string_view message, std::string_view name) {
  const std::string prefix = printable(name) + ": ";
  return std::string(message.starts_with(prefix) ? message.substr(prefix.size()) : message);
}

bool decodes(const ImageSource& source, const DatasetIndex::Item& item, std::vector<BadImage>& bad) {
  try {
    decode_image(source.read(item.entry), item.name);
    return true;
  } catch (const IoError& e) {
    bad.emplace_back(item.name, reason_without_name(e.what(), item.name));
    return false;
  }
}

DatasetIndex index_dataset(const ImageSource& source, ReadLabels read_labels) {
  DatasetIndex index;
  std::vector<DatasetIndex::Item> candidates;
  const auto& entries = source.entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    const std::string ext = extension(entries[i].name);
    if (entries[i].problem.empty() && hidden(entries[i].name)) continue;
    if (readable_kind(ext)) candidates.push_back({entries[i].name, int64_t(i), -1, {}});
    if (other_image_kind(ext))
      index.bad.emplace_back(entries[i].name, ext + " images are not supported; convert them to PNG");
  }

  std::vector<std::string> problems(candidates.size());
  for_each_in_parallel(candidates.size(), [&](size_t i) {
    auto& c = candidates[i];
    try {
      c.info = probe(source, c.entry, c.name);
    } catch (const std::exception& e) {
      problems[i] = reason_without_name(e.what(), c.name);
    }
  });

  if (read_labels == ReadLabels::yes) {
    const auto from_json = labels_from_json(source);
    const Labels labels = from_json ? *from_json : labels_from_folders(candidates);
    index.class_names = labels.class_names;
    for (size_t i = 0; i < candidates.size() && !labels.class_names.empty(); ++i) {
      const auto found = labels.of.find(candidates[i].name);
      if (found == labels.of.end() && !problems[i].empty()) continue;
      if (found == labels.of.end())
        throw IoError(
            fmt::format("{}: dataset.json has no label for {}", source.where(), printable(candidates[i].name)));
      candidates[i].label = found->second;
    }
  }
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (problems[i].empty())
      index.items.push_back(std::move(candidates[i]));
    else
      index.bad.emplace_back(candidates[i].name, problems[i]);
  }
  return index;
}

}  // namespace firn
