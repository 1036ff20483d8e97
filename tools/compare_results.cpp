#include "tools/compare_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "io/files.h"
#include "io/images.h"
#include "io/plot.h"
#include "tools/compare_jobs.h"
#include "training/run/metric_log.h"

namespace firn::tools {
namespace {

namespace fs = std::filesystem;

const char* arrow(Better better) { return better == Better::lower ? "lower is better" : "higher is better"; }

bool is_better(Better better, double a, double b) { return better == Better::lower ? a < b : a > b; }

// The method whose mean is best, of `best` or of `final`.
std::optional<size_t> winner(const ComparePlan& plan, const Results& r, size_t target, const std::string& score,
                             std::vector<double> Cell::*which) {
  std::optional<size_t> first;
  double value = 0;
  for (size_t m = 0; m < plan.methods.size(); ++m) {
    const Cell cell = r.cell(target, m, score);
    if ((cell.*which).empty()) continue;
    const double mean = mean_of_seeds(cell.*which).mean;
    if (std::isnan(mean)) continue;
    if (first && !is_better(r.better(score), mean, value)) continue;
    first = m;
    value = mean;
  }
  return first;
}

// Of fewer seeds than planned: it says of how many.
std::string to_text(const ComparePlan& plan, const MeanOfSeeds& m, const char* plus_minus) {
  const std::string text = to_text(m, plus_minus);
  const bool fewer = m.seeds > 0 && size_t(m.seeds) < plan.seeds.size();
  return fewer ? fmt::format("{} ({} of {} seeds)", text, m.seeds, plan.seeds.size()) : text;
}

// Each character that `special` has as `escape` makes it; lines as one.
std::string escaped(std::string_view text, std::string_view special, std::string (*escape)(char)) {
  std::string all;
  for (const char c : text)
    all += c == '\n' || c == '\r' ? " " : special.find(c) != std::string_view::npos ? escape(c) : std::string(1, c);
  return all;
}

std::string in_markdown(std::string_view text) {
  return escaped(text, "\\|*_`<>[]", [](char c) { return std::string("\\") + c; });
}

std::string in_latex(std::string_view text) {
  return escaped(text, "&%$#_{}~^\\", [](char c) {
    switch (c) {
      case '~':
        return std::string("\\textasciitilde{}");
      case '^':
        return std::string("\\textasciicircum{}");
      case '\\':
        return std::string("\\textbackslash{}");
      default:
        return std::string("\\") + c;
    }
  });
}

std::string slug(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '-');
  return text;
}

}  // namespace

MeanOfSeeds mean_of_seeds(const std::vector<double>& values) {
  MeanOfSeeds m{.seeds = int(values.size())};
  for (const double v : values) m.mean += v / double(values.size());
  if (values.size() < 2) return m;
  double squares = 0;
  for (const double v : values) squares += (v - m.mean) * (v - m.mean);
  m.deviation = std::sqrt(squares / double(values.size() - 1));
  return m;
}

std::string to_text(const MeanOfSeeds& m, const char* plus_minus) {
  if (m.seeds == 0) return "-";
  const double size = std::abs(m.mean);
  const int digits = size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.01 || size == 0 ? 3 : 5;
  if (m.seeds < 2) return fmt::format("{:.{}f}", m.mean, digits);
  return fmt::format("{:.{}f}{}{:.{}f}", m.mean, digits, plus_minus, m.deviation, digits);
}

std::vector<std::string> Results::scores(size_t target) const {
  std::vector<std::string> names;
  for (const Line& l : lines)
    if (l.target == target && !std::ranges::count(names, l.score)) names.push_back(l.score);
  return names;
}

Better Results::better(const std::string& score) const {
  const auto it = std::ranges::find(lines, score, &Line::score);
  return it == lines.end() ? Better::neither : it->better;
}

Cell Results::cell(size_t target, size_t method, const std::string& score) const {
  Cell cell;
  for (const Line& l : lines)
    if (l.target == target && l.method == method && l.score == score) {
      cell.best.push_back(l.best);
      cell.final.push_back(l.final);
    }
  return cell;
}

Results results_of(const ComparePlan& plan, const fs::path& folder) {
  Results results;
  for (const ComparePlan::Run& run : plan.runs()) {
    const fs::path found = run_of(folder / "runs" / run.id);
    if (found.empty()) continue;
    const MetricLog log(found);
    for (const auto& [score, curve] : log.curves())
      if (const auto best = curve.best())
        results.lines.push_back({run.target, run.method, run.seed, score, curve.better, best->second,
                                 double(best->first) / 1000, curve.points.back().second});
  }
  return results;
}

std::string markdown(const ComparePlan& plan, const Results& results) {
  std::string text =
      fmt::format("# {}\n\n{}{}best / final{}\n", in_markdown(plan.title), plan.note, plan.note.empty() ? "" : "\n\n",
                  plan.seeds.size() > 1 ? fmt::format(", mean ± deviation over {} seeds", plan.seeds.size()) : "");
  for (size_t t = 0; t < plan.targets.size(); ++t) {
    text += fmt::format("\n## {}\n\n", in_markdown(plan.targets[t].name));
    const std::vector<std::string> scores = results.scores(t);
    if (scores.empty()) {
      text += "Nothing was measured yet.\n";
      continue;
    }
    std::string head = "| method |", line = "|---|";
    for (const std::string& s : scores) {
      head += fmt::format(" {} ({}) |", s, arrow(results.better(s)));
      line += "---|";
    }
    text += head + "\n" + line + "\n";
    for (size_t m = 0; m < plan.methods.size(); ++m) {
      text += fmt::format("| {} |", in_markdown(plan.methods[m].name));
      for (const std::string& s : scores) {
        const Cell cell = results.cell(t, m, s);
        const auto value = [&](std::vector<double> Cell::*which) {
          const std::string v = to_text(plan, mean_of_seeds(cell.*which), " ± ");
          return winner(plan, results, t, s, which) == m ? "**" + v + "**" : v;
        };
        text += fmt::format(" {} / {} |", value(&Cell::best), value(&Cell::final));
      }
      text += "\n";
    }
  }
  return text;
}

std::string csv(const ComparePlan& plan, const Results& results) {
  const auto quoted = [](const std::string& text) {
    std::string q = "\"";
    for (const char c : text) q += c == '"' ? "\"\"" : std::string(1, c);
    return q + "\"";
  };
  std::string text = "target,method,seed,score,better,best,best_kimg,final\n";
  for (const Results::Line& l : results.lines)
    text += fmt::format("{},{},{},{},{},{},{},{}\n", quoted(plan.targets[l.target].name),
                        quoted(plan.methods[l.method].name), l.seed, l.score, name_of(l.better), l.best, l.best_kimg,
                        l.final);
  return text;
}

std::string latex(const ComparePlan& plan, const Results& results) {
  std::string text = fmt::format("% {}: best / final\n", in_latex(plan.title));
  for (size_t t = 0; t < plan.targets.size(); ++t) {
    const std::vector<std::string> scores = results.scores(t);
    if (scores.empty()) continue;
    text += fmt::format("\\begin{{tabular}}{{l{}}}\n\\hline\n{}", std::string(scores.size(), 'c'),
                        in_latex(plan.targets[t].name));
    for (const std::string& s : scores) text += " & " + in_latex(s);
    text += " \\\\\n\\hline\n";
    for (size_t m = 0; m < plan.methods.size(); ++m) {
      text += in_latex(plan.methods[m].name);
      for (const std::string& s : scores) {
        const Cell cell = results.cell(t, m, s);
        const auto value = [&](std::vector<double> Cell::*which) {
          const std::string v = to_text(plan, mean_of_seeds(cell.*which), "$\\pm$");
          return winner(plan, results, t, s, which) == m ? "\\textbf{" + v + "}" : v;
        };
        text += fmt::format(" & {} / {}", value(&Cell::best), value(&Cell::final));
      }
      text += " \\\\\n";
    }
    text += "\\hline\n\\end{tabular}\n";
  }
  return text;
}

std::vector<fs::path> write_curves(const ComparePlan& plan, const fs::path& folder) {
  // target, score -> method -> images -> values of the seeds
  std::map<std::pair<size_t, std::string>, std::map<size_t, std::map<int64_t, std::vector<double>>>> all;
  for (const ComparePlan::Run& run : plan.runs()) {
    const fs::path found = run_of(folder / "runs" / run.id);
    if (found.empty()) continue;
    const MetricLog log(found);
    for (const auto& [score, curve] : log.curves())
      if (curve.better != Better::neither)
        for (const auto& [images, value] : curve.points) all[{run.target, score}][run.method][images].push_back(value);
  }
  std::vector<fs::path> written;
  for (const auto& [key, methods] : all) {
    const auto& [target, score] = key;
    Chart chart{.title = plan.targets[target].name, .x_title = "thousands of images", .y_title = score, .series = {}};
    for (const auto& [method, points] : methods) {
      Series series{.name = plan.methods[method].name, .x = {}, .y = {}};
      size_t most = 0;
      for (const auto& [images, values] : points) most = std::max(most, values.size());
      for (const auto& [images, values] : points) {
        if (values.size() < most) continue;  // seeds that have come further would bend the mean
        series.x.push_back(double(images) / 1000);
        series.y.push_back(mean_of_seeds(values).mean);
      }
      chart.series.push_back(std::move(series));
    }
    written.push_back(folder / fmt::format("curves-{}-{}.svg", slug(plan.targets[target].name), slug(score)));
    write_text(written.back(), svg_file(chart));
  }
  return written;
}

std::vector<fs::path> write_samples(const ComparePlan& plan, const fs::path& folder) {
  constexpr int columns = 12;
  std::vector<fs::path> written;
  for (size_t t = 0; t < plan.targets.size(); ++t) {
    std::vector<Image> rows;
    for (const ComparePlan::Run& run : plan.runs()) {
      const fs::path found = run_of(folder / "runs" / run.id);
      if (run.target != t || run.seed != plan.seeds[0] || found.empty()) continue;
      std::error_code none;
      fs::path snapshot = found / "snapshot-best.safetensors";
      if (!fs::exists(snapshot, none)) snapshot = found / "snapshot-latest.safetensors";
      if (!fs::exists(snapshot, none)) continue;
      const fs::path row = folder / "runs" / run.id / "samples.png";
      try {
        run_beside("gan-sample",
                   {"--snapshot", snapshot.string(), "--seeds", fmt::format("0-{}", columns - 1), "--columns",
                    std::to_string(columns), "--grid", row.string()},
                   folder / "runs" / run.id / "samples.txt");
      } catch (const SystemError&) {
        throw;
      } catch (const Error& e) {
        fmt::print(stderr, "gan-compare: no samples of {}: {}\n", run.id, e.what());
        continue;
      }
      rows.push_back(with_title(load_image(row), plan.methods[run.method].name, 2));
    }
    if (rows.empty()) continue;
    written.push_back(folder / fmt::format("samples-{}.png", slug(plan.targets[t].name)));
    save_png(written.back(), grid(rows, 1, 8));
  }
  return written;
}

}  // namespace firn::tools
