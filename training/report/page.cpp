#include "training/report/page.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <ctime>

#include "base/error.h"
#include "io/files.h"
#include "io/plot.h"
#include "training/report/assets.h"
#include "training/report/html.h"
#include "training/report/sections.h"

namespace firn {
namespace {

struct Part {
  const char *id, *title;
  std::string html;
};

std::string moment(double seconds) { return fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(std::time_t(seconds))); }

std::string state_of(const RunRecord& run) {
  const std::string at = kimg_text(run.kimg());
  switch (run.log.end) {
    case RunEnd::done:
      return at + ", done";
    case RunEnd::stopped:
      return at + ", stopped";
    case RunEnd::failed:
      return fmt::format("{}, failed: {}", at, run.log.last_words);
    case RunEnd::none:
      break;
  }
  return run.last_tick > 0 ? fmt::format("{}, no end yet, last tick {}", at, moment(run.last_tick)) : "no tick yet";
}

std::string title_of(const Runs& runs) {
  return runs.size() == 1 ? runs.front().name : fmt::format("{} runs side by side", runs.size());
}

std::string list_of(const Runs& runs) {
  if (runs.size() == 1) return html::paragraph(markup(state_of(runs.front())), "quiet");
  std::string list;
  for (size_t i = 0; i < runs.size(); ++i)
    list += fmt::format("<li><span><span class=\"chip {}\"></span>{}</span> {}</li>\n", plot_class(int(i)),
                        markup(runs[i].name), html::quiet(state_of(runs[i])));
  return fmt::format("<ul class=\"runs\">\n{}</ul>\n", list);
}

std::string links_to(const std::vector<Part>& parts) {
  std::string links;
  for (const Part& part : parts)
    if (!part.html.empty()) links += fmt::format("<a href=\"#{}\">{}</a>\n", part.id, part.title);
  return fmt::format("<nav>\n{}</nav>\n", links);
}

std::string remarks_of(const Runs& runs) {
  std::string list;
  for (const RunRecord& run : runs)
    for (const std::string& remark : run.remarks)
      list += fmt::format("<li>{}: {}</li>\n", markup(run.label), markup(remark));
  return list.empty() ? "" : fmt::format("<ul>\n{}</ul>\n", list);
}

// The policy keeps a browser from fetching anything, whatever a page says.
std::string head_of(const std::string& title) {
  return fmt::format(R"(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" 
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{}</title>
<style>
{}{}</style>
</head>
)",
                     markup(title), assets::css, plot_style());
}

}  // namespace

std::string report_page(std::vector<RunRecord> runs) {
  if (runs.empty()) throw Error("a report is about one run at least");
  const Album album = album_of(runs);
  const std::vector<Part> parts = {{"results", "Best and final", results_section(runs)},
                                   {"samples", "Samples", samples_section(runs, album)},
                                   {"metrics", "Metrics", metrics_section(runs)},
                                   {"losses", "Losses", losses_section(runs)},
                                   {"neighbours", "Nearest neighbours", neighbours_section(runs, album)},
                                   {"freezing", "Freezing", freezing_section(runs)},
                                   {"cost", "Cost", cost_section(runs)},
                                   {"options", "Options", options_section(runs)},
                                   {"remarks", "Not read", remarks_of(runs)}};
  std::string page = head_of(title_of(runs));
  page += fmt::format("<body>\n<header>\n<h1>{}</h1>\n{}{}</header>\n", markup(title_of(runs)), list_of(runs),
                      links_to(parts));
  for (const Part& part : parts) page += html::section(part.id, part.title, part.html);
  page += fmt::format("<footer>Written {} by Firn.</footer>\n", moment(double(std::time(nullptr))));
  return page + fmt::format("<script>\n{}</script>\n</body>\n</html>\n", assets::script);
}

void write_report(const std::vector<std::filesystem::path>& runs, const std::filesystem::path& page) {
  write_text(page, report_page(read_runs(runs)));
}

}  // namespace firn
