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
      {"D’s scores", "logit", {"Loss/scores/real", "Loss/scores/fake"}, {"reals", "fakes"}},
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

std::string chart_of(const Runs& runs, const StatChart& row) {
  Chart chart{.x_title = "kimg", .y_title = row.unit, .width = 400, .height = 250};
  for (size_t i = 0; i < runs.size(); ++i)
    for (size_t k = 0; k < row.stats.size(); ++k) {
      const Curve& curve = runs[i].stat(row.stats[k]);
      if (curve.empty()) continue;
      const std::string part = row.parts.empty() ? "" : row.parts[k];
      const std::string name = part.empty() ? runs[i].label : runs.size() == 1 ? part : runs[i].label + " " + part;
      chart.series.push_back({.name = name, .x = curve.kimg, .y = curve.value, .colour = int(i), .dashed = k > 0});
    }
  if (chart.series.empty()) return "";
  return fmt::format("<figure><figcaption>{}</figcaption>\n{}</figure>\n", markup(row.title), inline_svg(chart));
}

}  // namespace

std::string charts_of(const Runs& runs, const std::vector<StatChart>& rows) {
  std::string charts;
  for (const StatChart& row : rows) charts += chart_of(runs, row);
  return charts.empty() ? "" : fmt::format("<div class=\"charts\">\n{}</div>\n", charts);
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
  return charts_of(runs, rows);
}

double median_of(const Curve& curve) {
  std::vector<double> values;
  std::ranges::copy_if(curve.value, std::back_inserter(values), [](double v) { return std::isfinite(v); });
  if (values.empty()) return NAN;
  const auto middle = values.begin() + std::ptrdiff_t(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

std::string run_name(const Runs& runs, size_t i) {
  return fmt::format("<span class=\"chip {}\"></span><span title=\"{}\">{}</span>", plot_class(int(i)),
                     markup(runs[i].name), markup(runs[i].label));
}

std::string kimg_text(double kimg) { return fmt::format("{:g} kimg", std::round(kimg * 1000) / 1000); }

}  // namespace firn
