#include "io/labels.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "io/json.h"
#include "io/layout.h"

namespace firn {
namespace {

using Json = nlohmann::json;
constexpr int no_class = -1;

int class_of(const Json& label, const auto& fail) {
  if (label.is_number_integer()) {
    const auto value = label.get<int64_t>();
    if (label.is_number_unsigned() && label.get<uint64_t>() >= kMostClasses) fail("its label is too large");
    if (value < 0) fail("its label is negative");
    return int(value);
  }
  if (label.is_number_float()) {  // 3.0, as tables are often written out
    const auto value = label.get<double>();
    return value >= 0 && value < kMostClasses && value == std::trunc(value) ? int(value) : no_class;
  }
  if (!label.is_array() || label.size() > kMostClasses) return no_class;
  int hot = no_class;
  for (size_t i = 0; i < label.size(); ++i) {
    const double value = label[i].is_number() ? label[i].get<double>() : 2;
    if (value != 0 && (value != 1 || hot >= 0)) return no_class;
    if (value == 1) hot = int(i);
  }
  return hot;
}

std::string kind_of(const Json& label) {
  if (label.is_number_integer()) return "whole numbers";
  if (label.is_number()) return "numbers that are no classes";
  if (label.is_string()) return "texts";
  if (label.is_array()) return fmt::format("vectors of {} numbers", label.size());
  return label.is_boolean() ? "yes or no" : "objects";
}

void read_class_names(const Json& names, size_t classes, Labels& labels, const auto& fail) {
  if (!names.is_array() || names.size() > kMostClasses) fail("\"classes\" is not a list of names");
  for (const Json& n : names) {
    if (!n.is_string()) fail("\"classes\" is not a list of names");
    labels.class_names.push_back(n);
  }
  if (classes > labels.class_names.size())
    fail(fmt::format("a label of {} is out of range: there are {} classes", classes - 1, labels.class_names.size()));
  labels.named = true;
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
  std::set<std::string> kinds;  // of labels that are no classes, and of those that would be
  bool all_classes = true;
  std::vector<std::pair<std::string, const Json*>> given;
  for (const Json& pair : *list) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string()) fail("a label is not a pair [file, class]");
    const auto& file = pair[0].get_ref<const std::string&>();
    const auto fail_label = [&](std::string_view what) { fail(fmt::format("{}: {}", printable(file), what)); };
    if (leaves_its_root(normalised(file))) fail_label("an unsafe name");
    if (pair[1].is_null()) continue;
    const int label = class_of(pair[1], fail_label);
    if (!labels.of.emplace(normalised(file), label).second) fail_label("it is labelled twice");
    all_classes &= label != no_class;
    classes = std::max(classes, pair[1].is_array() ? pair[1].size() : size_t(label) + 1);
    if (kinds.size() < 4) kinds.insert(kind_of(pair[1]));
    given.emplace_back(normalised(file), &pair[1]);
  }

  if (!all_classes) {
    labels.of.clear();
    for (auto& [file, label] : given)
      labels.others.emplace(std::move(file), label->dump(-1, ' ', false, Json::error_handler_t::replace));
    for (const std::string& kind : kinds) labels.kind += (labels.kind.empty() ? "" : ", ") + kind;
  } else if (const auto names = json.find("classes"); names != json.end() && !names->is_null()) {
    read_class_names(*names, classes, labels, fail);
  } else {
    for (size_t c = 0; c < classes; ++c) labels.class_names.push_back(fmt::format("class {}", c));
  }
  return labels;
}

}  // namespace firn
