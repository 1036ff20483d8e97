#include "tools/option_rows.h"
#include "training/methods/method.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace firn::tools {
namespace {

const char* type_of(const OptionValue& value) {
  return std::visit(
      [](const auto& v) {
        using V = std::decay_t<decltype(v)>;
        return std::is_same_v<V, double*>                                                               ? "FLOAT"
               : std::is_same_v<V, int*> || std::is_same_v<V, int64_t*> || std::is_same_v<V, uint64_t*> ? "INT"
                                                                                                        : "TEXT";
      },
      value);
}

}  // namespace

template <class O>
void OptionRows::add(const std::string& kind, O options) {
  for_each_option(options, [&](const Option& option, const OptionValue& value) {
    if (!*option.flag) return;
    auto row = std::ranges::find_if(rows_, [&](const Row& r) { return r.option.name() == option.name(); });
    if (row == rows_.end()) {
      const bool list = std::holds_alternative<std::vector<std::string>*>(value);
      row = rows_.insert(row, {option, {}, std::holds_alternative<bool*>(value) ? "" : type_of(value), list});
    }
    row->defaults.emplace_back(kind, to_text(value));
  });
}

OptionRows OptionRows::of_runs() {
  OptionRows rows;
  for (const Model& m : models()) rows.add(m.kind, TrainOptions::of(m.kind));
  return rows;
}

OptionRows OptionRows::of_models() {
  OptionRows rows;
  for (const Model& m : models()) rows.add(m.kind, m.defaults());
  return rows;
}

OptionRows OptionRows::of_steps() {
  OptionRows rows = of_models();
  for (const Model& m : models()) {
    rows.add(m.kind, AugmentOptions{});
    for (const Method& method : methods())
      if (method.defaults) rows.add(m.kind, method.defaults());
  }
  return rows;
}

std::vector<CLI::Option*> OptionRows::add_to(CLI::App& app) const {
  std::vector<CLI::Option*> added;
  for (const Row& row : rows_) {
    const Option& option = row.option;
    if (row.type.empty()) {
      added.push_back(app.add_flag(option.flag, option.help)->group(option.group));
      continue;
    }
    CLI::Option* o = app.add_option(option.flag, option.help)->group(option.group)->type_name(row.type);
    if (row.list)
      o->expected(1, CLI::detail::expected_max_vector_size)
          ->allow_extra_args(false)
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    else
      o->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    added.push_back(o);
  }
  return added;
}

Overlay OptionRows::given(const CLI::App& app) const {
  Overlay set;
  for (const Row& row : rows_)
    if (const CLI::Option* o = app.get_option(row.option.name()); o->count() > 0)
      set.give(row.option.name(), o->results());
  return set;
}

std::string OptionRows::table() const {
  std::string text =
      "# Options of a run\n\nWhat `gan-train` keeps of a run and writes into its snapshots; `gan-train --help` also "
      "lists what is only\nthis process's (devices, files). Defaults are those before a configuration (`--cfg`) fills "
      "in its own. With\n`--resume` only what may change may differ.\n";
  for (const char* heading : {"Run", "Data", "Configuration", "Where to start", "Methods", "Metrics", "Machine"}) {
    text += fmt::format("\n## {}\n\n| option | default | | with --resume |\n|---|---|---|---|\n", heading);
    for (const Row& row : rows_) {
      if (row.option.group != std::string_view(heading)) continue;
      const auto& [first, value] = row.defaults.front();
      std::string defaults = value, kinds = first;
      for (size_t i = 1; i < row.defaults.size(); ++i) {
        kinds += ", " + row.defaults[i].first;
        if (row.defaults[i].second != value)
          defaults += fmt::format(" ({}: {})", row.defaults[i].first, row.defaults[i].second);
      }
      std::string flags = row.option.flag;
      std::erase(flags, '!');  // CLI11's mark of what takes a flag back
      text += fmt::format("| `{}` | {} | {}{} | {} |\n", flags, defaults, row.option.help,
                          row.defaults.size() == models().size() ? "" : " (" + kinds + ")",
                          row.option.may_change ? "may change" : "");
    }
  }
  return text;
}

}  // namespace firn::tools
