// Sheets over time under a slider, beside the data, and neighbours.
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "training/report/html.h"
#include "training/report/sections.h"

namespace firn {
namespace {

std::string kimg_value(double kimg) { return fmt::format("{:.10g}", kimg); }

std::string image(const Picture& p, const std::string& what, const std::string& more = {}) {
  return fmt::format("<img src=\"{}\" width=\"{}\" height=\"{}\" alt=\"{}\"{}>\n", p.uri, p.width, p.height,
                     markup(what), more);
}

// Without the script the last one is seen.
std::string film(const Runs& runs, size_t i, const RunPictures& pictures) {
  std::string frames;
  for (const Frame& frame : pictures.frames)
    frames += image(
        frame.picture, fmt::format("samples of {} at {}", runs[i].label, kimg_text(frame.kimg)),
        fmt::format(" data-kimg=\"{}\"{}", kimg_value(frame.kimg), &frame == &pictures.frames.back() ? "" : " hidden"));
  return fmt::format("<figure class=\"film\"><figcaption>{} <small class=\"at\">{}</small></figcaption>\n{}</figure>\n",
                     run_name(runs, i), kimg_text(pictures.frames.back().kimg), frames);
}

std::string reals_of(const Runs& runs, const Album& album) {  // each picture once
  std::string figures;
  for (size_t i = 0; i < album.size(); ++i) {
    if (!album[i].reals) continue;
    const auto same = [&](const RunPictures& other) { return other.reals && other.reals->uri == album[i].reals->uri; };
    if (std::ranges::find_if(album, same) != album.begin() + std::ptrdiff_t(i)) continue;
    std::vector<std::string> of;
    for (size_t k = i; k < album.size(); ++k)
      if (same(album[k])) of.push_back(runs[k].label);
    const bool all = std::ranges::all_of(album, same);
    const std::string whose = all ? "" : html::quiet(fmt::format("{}", fmt::join(of, ", ")));
    figures += html::figure("Data " + whose, image(*album[i].reals, "images of the data"));
  }
  return figures;
}

// Where the slider stops: kimg of all sheets, those that lie closer than a hundredth of the way taken as one.
std::vector<double> stops_of(const Album& album) {
  std::set<double> all;
  for (const RunPictures& pictures : album)
    for (const Frame& frame : pictures.frames) all.insert(frame.kimg);
  const double close = album.size() == 1 ? 0 : *all.rbegin() / 100;
  std::vector<double> stops;
  for (auto first = all.begin(); first != all.end();) {
    const auto beyond = all.upper_bound(*first + close);
    stops.push_back(*std::prev(beyond));
    first = beyond;
  }
  return stops;
}

std::string slider_of(const std::vector<double>& stops) {
  std::vector<std::string> values;
  for (const double kimg : stops) values.push_back(kimg_value(kimg));
  return fmt::format(
      "<div class=\"slider\" hidden><input type=\"range\" min=\"0\" max=\"{0}\" value=\"{0}\" aria-label=\"kimg\" "
      "data-stops=\"{1}\"><output>{2}</output></div>\n",
      stops.size() - 1, fmt::join(values, " "), kimg_text(stops.back()));
}

std::string notes_of(const Runs& runs, const Album& album) {
  std::vector<std::string> left_out, cut;
  for (size_t i = 0; i < runs.size(); ++i) {
    const std::vector<Frame>& frames = album[i].frames;
    const std::string of = runs.size() == 1 ? "" : fmt::format(" of {}", markup(runs[i].label));
    if (album[i].left_out > 0)
      left_out.push_back(fmt::format("{} of the {} sheets{}", album[i].left_out, runs[i].sheets.size(), of));
    if (std::ranges::any_of(frames, [](const Frame& f) { return !f.picture.whole; })) cut.push_back("sheets" + of);
  }
  std::string notes;
  if (!left_out.empty())
    notes += html::paragraph(
        fmt::format("Left out to keep the page small: {}; the others are spread evenly.", fmt::join(left_out, ", ")),
        "quiet");
  if (!cut.empty())
    notes += html::paragraph(fmt::format("Cut to their first images: {}.", fmt::join(cut, ", ")), "quiet");
  return notes;
}

}  // namespace

std::string samples_section(const Runs& runs, const Album& album) {
  std::string figures;
  for (size_t i = 0; i < runs.size(); ++i)
    if (!album[i].frames.empty()) figures += film(runs, i, album[i]);
  const std::string slider = figures.empty() ? "" : slider_of(stops_of(album));
  figures += reals_of(runs, album);
  if (figures.empty()) return "";
  return slider + html::grid("sheets", figures) + notes_of(runs, album);
}

std::string neighbours_section(const Runs& runs, const Album& album) {
  std::string figures;
  for (size_t i = 0; i < runs.size(); ++i)
    if (album[i].neighbours)
      figures +=
          html::figure(run_name(runs, i), image(*album[i].neighbours, "samples over their nearest training images"));
  if (figures.empty()) return "";
  return html::paragraph("Samples over their nearest training images.", "quiet") + html::grid("sheets", figures);
}

}  // namespace firn
