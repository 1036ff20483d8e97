// What the runs were asked for: where they differ and, folded, all of it.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "training/report/html.h"
#include "training/report/sections.h"

namespace firn {
namespace {

using Json = nlohmann::json;
using Values = std::map<std::string, std::string>;  // by keys like freeze.blocks

std::string text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{:.10g}", value.get<double>());
  if (!value.is_array()) return value.dump();
  std::string text;
  for (const Json& item : value) text += (text.empty() ? "" : ", ") + text_of(item);
  return text;
}

void flatten(const Json& json, const std::string& prefix, Values& values) {
  for (const auto& [key, value] : json.items())
    if (value.is_object())
      flatten(value, prefix + key + ".", values);
    else
      values[prefix + key] = text_of(value);
}

struct OptionRow {
  std::string key;
  std::vector<std::string> values;  // one a run; empty also where a run's version had none
  bool differs() const { return std::ranges::adjacent_find(values, std::not_equal_to()) != values.end(); }
};

std::vector<OptionRow> rows_of(const Runs& runs) {
  std::map<std::string, OptionRow> rows;
  for (size_t i = 0; i < runs.size(); ++i) {
    Values values;
    flatten(runs[i].options, "", values);
    for (const auto& [key, value] : values) {
      OptionRow& row = rows.try_emplace(key, OptionRow{key, std::vector<std::string>(runs.size())}).first->second;
      row.values[i] = value;
    }
  }
  std::vector<OptionRow> list;
  for (auto& [key, row] : rows) list.push_back(std::move(row));
  return list;
}

enum class Marks { none, differences };

std::string table_of(const Runs& runs, const std::vector<OptionRow>& rows, Marks marks) {
  if (rows.empty()) return "";
  html::Table table{.heads = {"option"}, .words = true};
  for (size_t i = 0; i < runs.size(); ++i) table.heads.push_back(run_name(runs, i));
  for (const OptionRow& row : rows) {
    html::Row line{.head = fmt::format("<code>{}</code>", markup(row.key)),
                   .marked = marks == Marks::differences && row.differs()};
    for (const std::string& value : row.values) line.cells.push_back(value.empty() ? "–" : markup(value));
    table.rows.push_back(std::move(line));
  }
  return to_string(table);
}

}  // namespace

std::string options_section(const Runs& runs) {
  const std::vector<OptionRow> all = rows_of(runs);
  if (all.empty()) return "";
  std::vector<OptionRow> differing;
  std::ranges::copy_if(all, std::back_inserter(differing), &OptionRow::differs);
  std::string text;
  if (runs.size() > 1)
    text = differing.empty()
               ? html::paragraph("All options are the same.", "quiet")
               : html::paragraph("Where the runs differ:", "quiet") + table_of(runs, differing, Marks::none);
  return text + html::folded(fmt::format("All {} options", all.size()), table_of(runs, all, Marks::differences));
}

}  // namespace firn
