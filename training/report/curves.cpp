// What stats.jsonl has, as charts.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "io/plot.h"
#include "training/report/html.h"
#include "training/report/sections.h"

namespace firn {
namespace {

// What people look at first; the other losses follow under their own names.
const std::vector<StatChart>& known_losses() {
  static const std::vector<StatChart> charts = {
      {"Loss of G", "loss", {"Loss/G/loss"}},
      {"Loss of D", "loss", {"Loss/D/loss"}},
      {"D’s scores", "logit", {"Loss/scores/real", "Loss/scores/fake"}, "of reals; dashed, of fakes"},
      {"Sign of D’s scores of reals", "mean", {"Loss/signs/real"}},
      {"Probability of augmentation", "p", {"Progress/augment"}},
      {"R1 penalty", "penalty", {"Loss/r1_penalty"}},
      {"Path length", "length", {"Loss/path_length"}},
      {"Path-length penalty", "penalty", {"Loss/pl_penalty"}}};
  return charts;
}

bool is_known(const std::string& stat) {
  return std::ranges::any_of(known_losses(),
                             [&](const StatChart& c) { return std::ranges::find(c.stats, stat) != c.stats.end(); });
}

bool always_zero(const Runs& runs, const std::string& stat) {
  return std::ranges::all_of(runs, [&](const RunRecord& run) {
    return std::ranges::all_of(run.stat(stat).value, [](double v) { return v == 0; });
  });
}

// It is noise, and often far from the rest. A run that has hardly more shows it all the same.
Curve without_first_tick(const RunRecord& run, Curve curve) {
  const Curve& ticks = run.stat("Progress/tick");
  if (ticks.kimg.size() < 4 || ticks.value.front() != 0 || curve.empty() || curve.kimg.front() != ticks.kimg.front())
    return curve;
  curve.kimg.erase(curve.kimg.begin());
  curve.value.erase(curve.value.begin());
  return curve;
}

std::string chart_of(const Runs& runs, const StatChart& row) {
  Chart chart{.x_title = "kimg", .y_title = row.unit, .width = 400, .height = 250};
  for (size_t i = 0; i < runs.size(); ++i)
    for (size_t k = 0; k < row.stats.size(); ++k) {
      Curve curve = without_first_tick(runs[i], runs[i].stat(row.stats[k]));
      if (curve.empty()) continue;
      chart.series.push_back({.name = runs[i].label,
                              .x = std::move(curve.kimg),
                              .y = std::move(curve.value),
                              .colour = int(i),
                              .dashed = k > 0,
                              .in_legend = k == 0});
    }
  if (chart.series.empty()) return "";
  const std::string title = markup(row.title);
  return html::figure(row.lines.empty() ? title : fmt::format("{} {}", title, html::quiet(row.lines)),
                      inline_svg(chart));
}

}  // namespace

std::string charts_of(const Runs& runs, const std::vector<StatChart>& rows) {
  std::string charts;
  for (const StatChart& row : rows) charts += chart_of(runs, row);
  return html::grid("charts", charts);
}

std::string losses_section(const Runs& runs) {
  std::vector<StatChart> rows = known_losses();
  std::vector<std::string> others;
  for (const RunRecord& run : runs)
    for (const auto& [name, curve] : run.stats)
      if (name.starts_with("Loss/") && !is_known(name) && !always_zero(runs, name) &&
          std::ranges::find(others, name) == others.end())
        others.push_back(name);
  std::ranges::sort(others);
  for (const std::string& name : others) rows.push_back({name, "value", {name}});
  const std::string charts = charts_of(runs, rows);
  return charts.empty()
             ? ""
             : html::paragraph("Means of each tick but the first, which is one iteration.", "quiet") + charts;
}

std::string run_name(const Runs& runs, size_t i) {
  return fmt::format("<span class=\"run\"><span class=\"chip {}\"></span><span title=\"{}\">{}</span></span>",
                     plot_class(int(i)), markup(runs[i].name), markup(runs[i].label));
}

std::string kimg_text(double kimg) { return fmt::format("{:g} kimg", std::round(kimg * 1000) / 1000); }

}  // namespace firn
