// What was frozen, what that saved, and what the runs cost.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "io/axis.h"
#include "training/report/html.h"
#include "training/report/sections.h"
#include "training/run/report.h"

namespace firn {
namespace {

using Json = nlohmann::json;

constexpr std::string_view timing = "Timing/";

double member(const Json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_number() ? object[key].get<double>() : NAN;
}

std::string asked_for(const RunRecord& run) {
  std::vector<std::string> asked;
  const Json freeze = run.options.contains("freeze") ? run.options["freeze"] : Json();
  if (member(freeze, "blocks") > 0) asked.push_back(fmt::format("--freeze-d {}", member(freeze, "blocks")));
  if (member(freeze, "layers") > 0) asked.push_back(fmt::format("--freezed {}", member(freeze, "layers")));
  if (freeze.is_object() && freeze.contains("patterns") && freeze["patterns"].is_array())
    for (const Json& pattern : freeze["patterns"])
      if (pattern.is_string()) asked.push_back(fmt::format("--freeze '{}'", pattern.get<std::string>()));
  std::string text;
  for (const std::string& option : asked)
    text += fmt::format("{}<code>{}</code>", text.empty() ? "" : " ", markup(option));
  return text.empty() ? "nothing" : text;
}

struct Share {
  double frozen = NAN, total = NAN;
};

Share frozen_share(const RunRecord& run, const std::string& role) {
  for (const FrozenNetwork& n : run.log.frozen)
    if (n.role == role) return {double(n.frozen), double(n.total)};
  const std::string key = fmt::format("{}_parameters", role == "D" ? "d" : "g");
  const double total = member(run.summary, key.c_str());
  return {total - member(run.summary, (key + "_trainable").c_str()), total};
}

std::string to_text(const Share& share) {
  if (!std::isfinite(share.total)) return "–";
  return share.frozen > 0 ? fmt::format("{} of {}", brief(share.frozen), brief(share.total))
                          : fmt::format("0 of {}", brief(share.total));
}

std::string removed_from_backward(const RunRecord& run) {
  for (const FrozenNetwork& n : run.log.frozen)
    if (n.role == "D" && n.backward_removed > 0) return fmt::format("{:g} %", n.backward_removed);
  return "–";
}

std::string frozen_parts(const RunRecord& run) {
  std::string text;
  for (const FrozenNetwork& n : run.log.frozen)
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", n.role, n.frozen_parts());
  return markup(text);
}

bool freezes(const RunRecord& run) {
  return !run.log.frozen.empty() || !run.selection.empty() || asked_for(run) != "nothing";
}

// That were timed: "Dmain".
std::vector<std::string> phases_of(const Runs& runs) {
  std::vector<std::string> names;
  for (const RunRecord& run : runs)
    for (const auto& [name, curve] : run.stats)
      if (name.starts_with(timing) && name.find('_') == name.npos)
        if (const std::string phase = name.substr(timing.size()); std::ranges::find(names, phase) == names.end())
          names.push_back(phase);
  return names;
}

// NaN where nothing is finite.
double median_of(const Curve& curve) {
  std::vector<double> values;
  std::ranges::copy_if(curve.value, std::back_inserter(values), [](double v) { return std::isfinite(v); });
  if (values.empty()) return NAN;
  const auto middle = values.begin() + std::ptrdiff_t(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

double sum_of(const Curve& curve) {
  return std::accumulate(curve.value.begin(), curve.value.end(), 0.0,
                         [](double sum, double v) { return std::isfinite(v) ? sum + v : sum; });
}

double greatest_of(const RunRecord& run, std::initializer_list<const char*> stats) {
  double most = NAN;
  for (const char* stat : stats)
    for (const double v : run.stat(stat).value) most = std::fmax(most, v);
  return most;
}

std::string seconds_text(double seconds) { return seconds > 0 && seconds < 1e12 ? duration(seconds) : "–"; }
std::string gigabytes(double value) { return std::isfinite(value) ? fmt::format("{:.2f} GB", value) : "–"; }

std::string milliseconds(const RunRecord& run, const std::string& phase) {
  const double median = median_of(run.stat(fmt::format("{}{}", timing, phase)));
  return std::isfinite(median) ? fmt::format("{:.1f}", median) : "–";
}

html::Row cost_of(const Runs& runs, size_t i, const std::vector<std::string>& phases) {
  const RunRecord& run = runs[i];
  const double training = sum_of(run.stat("Timing/sec_per_tick"));
  const Curve &speed = run.stat("Timing/images_per_sec"), &seconds = run.stat("Timing/sec_per_tick");
  double images = 0;
  for (size_t k = 0; k < std::min(speed.value.size(), seconds.value.size()); ++k)
    if (const double n = speed.value[k] * seconds.value[k]; std::isfinite(n)) images += n;
  html::Row row{.head = run_name(runs, i)};
  row.cells = {brief(run.kimg()),
               seconds_text(training),
               seconds_text(sum_of(run.stat("Timing/maintenance_sec"))),
               seconds_text(run.evaluation_seconds),
               training > 0 ? brief(images / training) : "–",
               gigabytes(std::fmax(greatest_of(run, {"Resources/cpu_mem_gb"}), member(run.summary, "peak_memory_gb"))),
               gigabytes(greatest_of(run, {"Resources/peak_gpu_mem_gb", "Resources/peak_tensor_gb"}))};
  for (const std::string& phase : phases) row.cells.push_back(milliseconds(run, phase));
  return row;
}

}  // namespace

std::string freezing_section(const Runs& runs) {
  if (std::ranges::none_of(runs, freezes)) return "";
  std::vector<std::string> phases = phases_of(runs);
  std::erase_if(phases, [](const std::string& phase) { return !phase.starts_with("D"); });
  html::Table table{.heads = {"run", "asked for", "frozen", "numbers of D", "numbers of G", "backward saved"}};
  for (const std::string& phase : phases) table.heads.push_back(markup(phase) + " <small>ms</small>");
  std::string selections, tables;
  for (size_t i = 0; i < runs.size(); ++i) {
    html::Row row{.head = run_name(runs, i)};
    row.cells = {asked_for(runs[i]), frozen_parts(runs[i]), to_text(frozen_share(runs[i], "D")),
                 to_text(frozen_share(runs[i], "G")), removed_from_backward(runs[i])};
    for (const std::string& phase : phases) row.cells.push_back(milliseconds(runs[i], phase));
    table.rows.push_back(std::move(row));
    const auto lines = [&](const std::string& of, const std::vector<std::string>& rows) {
      std::string text;
      for (const std::string& line : rows) text += markup(line) + "\n";
      return fmt::format("<h3>{} of {}</h3>\n<pre>{}</pre>\n", markup(of), run_name(runs, i), text);
    };
    if (!runs[i].selection.empty()) selections += lines("Depth", runs[i].selection);
    for (const FrozenNetwork& n : runs[i].log.frozen) tables += lines(n.role, n.rows);
  }
  return html::paragraph(
             "Frozen numbers of all that a network has; the share of D’s backward multiplications that "
             "freezing removes; what D’s phases took, in milliseconds.",
             "quiet") +
         to_string(table) + selections + html::folded("Tensor by tensor", tables);
}

std::string cost_section(const Runs& runs) {
  if (std::ranges::all_of(runs, [](const RunRecord& run) { return run.stats.empty(); })) return "";
  const std::vector<std::string> phases = phases_of(runs);
  html::Table table{.heads = {"run", "kimg", "training", "upkeep", "metrics", "images/s", "memory", "tensors or GPU"}};
  for (const std::string& phase : phases) table.heads.push_back(markup(phase) + " <small>ms</small>");
  for (size_t i = 0; i < runs.size(); ++i) table.rows.push_back(cost_of(runs, i, phases));
  return html::paragraph(
             "Times of all sittings; upkeep is what came between ticks: saving, sheets, and metrics where they ran "
             "there. Memory at its peak; phases in milliseconds, the median of the ticks.",
             "quiet") +
         to_string(table) +
         html::folded("Over time", charts_of(runs, {{"Speed", "images/s", {"Timing/images_per_sec"}},
                                                    {"Memory", "GB", {"Resources/cpu_mem_gb"}},
                                                    {"GPU memory", "GB", {"Resources/peak_gpu_mem_gb"}},
                                                    {"Memory of tensors", "GB", {"Resources/peak_tensor_gb"}},
                                                    {"Of the CPU’s limit",
                                                     "share",
                                                     {"Resources/sol", "Resources/sol_direct"},
                                                     "FLOPs done; dashed, of direct algorithms"}}));
}

}  // namespace firn
