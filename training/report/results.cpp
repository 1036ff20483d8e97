// Best and final values, and metrics over time.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "io/axis.h"
#include "io/plot.h"
#include "training/report/html.h"
#include "training/report/sections.h"

namespace firn {
namespace {

constexpr size_t kMostMeasures = 48, kMostOpen = 12;  // that a page shows, and not folded

Better direction_of(const Runs& runs, const std::string& name) {
  for (const RunRecord& run : runs)
    if (const Measure* m = run.measure(name); m && m->better != Better::neither) return m->better;
  return Better::neither;
}

// Of all runs, those with a best first.
std::vector<std::string> measures_of(const Runs& runs) {
  std::vector<std::string> names;
  for (const RunRecord& run : runs)
    for (const Measure& m : run.measures)
      if (std::ranges::find(names, m.name) == names.end()) names.push_back(m.name);
  std::ranges::stable_partition(names, [&](const std::string& n) { return direction_of(runs, n) != Better::neither; });
  return names;
}

std::vector<std::string> shown_measures(const Runs& runs) {
  std::vector<std::string> names = measures_of(runs);
  names.resize(std::min(names.size(), kMostMeasures));
  return names;
}

std::string left_out(const Runs& runs) {
  const size_t all = measures_of(runs).size();
  return all <= kMostMeasures
             ? ""
             : html::paragraph(fmt::format("{} more measures are in the runs' metric-*.jsonl.", all - kMostMeasures),
                               "quiet");
}

const char* arrow(Better better) {
  return better == Better::lower    ? "&nbsp;<span title=\"lower is better\">↓</span>"
         : better == Better::higher ? "&nbsp;<span title=\"higher is better\">↑</span>"
                                    : "";
}

double best_of(const Measure* m) { return m && m->best() < m->curve.value.size() ? m->curve.value[m->best()] : NAN; }

// The run whose best is the best of all.
size_t winner_of(const Runs& runs, const std::string& name) {
  size_t winner = runs.size();
  const bool lower = direction_of(runs, name) == Better::lower;
  for (size_t i = 0; i < runs.size(); ++i) {
    const double value = best_of(runs[i].measure(name));
    if (!std::isfinite(value)) continue;
    const double held = winner < runs.size() ? best_of(runs[winner].measure(name)) : lower ? INFINITY : -INFINITY;
    if (lower ? value < held : value > held) winner = i;
  }
  return winner;
}

std::string cell_of(const Measure* m, bool wins) {
  if (!m) return "";
  const std::string last = brief(m->curve.last(), Zeros::keep);
  const size_t best = m->best();
  if (best >= m->curve.value.size()) return last;
  const std::string value = brief(m->curve.value[best], Zeros::keep);
  return fmt::format("{} <small>@ {}</small> / {}", wins ? fmt::format("<b>{}</b>", value) : value,
                     brief(m->curve.kimg[best]), last);
}

std::string chart_of(const Runs& runs, const std::string& name) {
  Chart chart{.x_title = "kimg", .y_title = name, .width = 400, .height = 250};
  for (size_t i = 0; i < runs.size(); ++i)
    if (const Measure* m = runs[i].measure(name))
      chart.series.push_back({.name = runs[i].label, .x = m->curve.kimg, .y = m->curve.value, .colour = int(i)});
  const Better better = direction_of(runs, name);
  chart.y_title = better == Better::lower ? "lower is better" : better == Better::higher ? "higher is better" : "value";
  return html::figure(markup(name), inline_svg(chart));
}

}  // namespace

std::string results_section(const Runs& runs) {
  const std::vector<std::string> names = shown_measures(runs);
  if (names.empty()) return "";
  html::Table table{.heads = {"run"}};
  for (const std::string& name : names) table.heads.push_back(markup(name) + arrow(direction_of(runs, name)));
  for (size_t i = 0; i < runs.size(); ++i) {
    html::Row row{.head = run_name(runs, i)};
    for (const std::string& name : names)
      row.cells.push_back(cell_of(runs[i].measure(name), runs.size() > 1 && winner_of(runs, name) == i));
    table.rows.push_back(std::move(row));
  }
  return html::paragraph("best @ kimg / final", "quiet") + to_string(table) + left_out(runs);
}

std::string metrics_section(const Runs& runs) {
  const std::vector<std::string> names = shown_measures(runs);
  std::string first, others;
  for (size_t i = 0; i < names.size(); ++i) (i < kMostOpen ? first : others) += chart_of(runs, names[i]);
  return html::grid("charts", first) +
         html::folded(fmt::format("{} more", names.size() - std::min(kMostOpen, names.size())),
                      html::grid("charts", others));
}

}  // namespace firn
