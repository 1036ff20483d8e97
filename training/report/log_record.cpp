#include "training/report/log_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <sstream>

namespace firn {
namespace {

std::optional<FrozenNetwork> summary_of(const std::string& line) {
  FrozenNetwork n;
  long long trains = 0, total = 0, frozen = 0;
  double removed = 0;
  int whole = 0;
  const int found = std::sscanf(line.c_str(), "%lld of %lld numbers train, %lld are frozen; %lf %% of the backward%n",
                                &trains, &total, &frozen, &removed, &whole);
  if (found < 3) return std::nullopt;
  n.total = total;
  n.frozen = frozen;
  n.backward_removed = whole ? removed : 0;
  return n;
}

bool names_role(const std::string& line) {
  return line.size() > 1 && line.size() < 32 && line.back() == ':' && line.find_first_of(" \t") == line.npos;
}

RunEnd end_of(const std::string& line) {
  if (line.starts_with("done: ") || line.starts_with("nothing to do: ")) return RunEnd::done;
  if (line.starts_with("stopped; ")) return RunEnd::stopped;
  return line.starts_with("error: ") ? RunEnd::failed : RunEnd::none;
}

}  // namespace

std::string FrozenNetwork::frozen_parts() const {
  struct Part {
    std::string name;
    int tensors = 0, frozen = 0;
    bool filters = false;
  };
  std::vector<Part> parts;
  for (const std::string& row : rows) {
    const std::string name = row.substr(0, row.find_first_of(". "));
    auto part = std::ranges::find(parts, name, &Part::name);
    if (part == parts.end()) part = parts.insert(parts.end(), {.name = name});
    ++part->tensors;
    part->frozen += row.ends_with("  frozen");
    part->filters |= row.ends_with(" filters frozen");
  }
  std::string text;
  for (const Part& part : parts)
    if (part.frozen > 0 || part.filters)
      text += fmt::format("{}{}{}", text.empty() ? "" : ", ", part.frozen < part.tensors ? "part of " : "", part.name);
  return text;
}

LogRecord read_log(std::string_view text) {
  LogRecord log;
  std::istringstream lines{std::string(text)};
  std::optional<FrozenNetwork> open;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    log.end = end_of(line);
    log.last_words = log.end == RunEnd::failed ? line.substr(7) : "";
    if (names_role(line)) {
      open = {.role = line.substr(0, line.size() - 1)};
    } else if (const auto summary = summary_of(line); summary && open) {
      open->total = summary->total;
      open->frozen = summary->frozen;
      open->backward_removed = summary->backward_removed;
      std::erase_if(log.frozen, [&](const FrozenNetwork& n) { return n.role == open->role; });  // before a resume
      log.frozen.push_back(*std::move(open));
      open.reset();
    } else if (open) {
      open->rows.push_back(line);
    }
  }
  return log;
}

}  // namespace firn
