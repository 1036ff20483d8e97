#include "io/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/text.h"
#include "io/axis.h"
#include "io/markup.h"

namespace firn {
namespace {

struct Colour {
  const char *on_light, *on_dark;
};
constexpr Colour palette[] = {{"#0069a8", "#5ab4ee"}, {"#c4500c", "#f2935c"}, {"#00805a", "#4cc9a0"},
                              {"#a13d7d", "#e39ac6"}, {"#a67600", "#e3be57"}, {"#5b5bc7", "#a9a8f5"},
                              {"#6b6b66", "#a8a8a2"}, {"#8a4a2b", "#c99a7c"}};
constexpr int colours = std::size(palette);
constexpr const char* dashes[] = {"", "6 3", "2 3", "8 3 2 3"};  // when colours recur

constexpr size_t kMostDrawn = 400, kMostTitles = 120, kMostMarked = 40;  // points of a curve
constexpr double kText = 12, kLetter = 6.6, kLine = 17;                  // of the font: size, mean width, leading

// Beyond these bounds the arithmetic of axes is not.
constexpr double kGreatest = 1e300, kLeast = 1e-300;

bool can_draw(double y, bool logarithmic = false) {
  return std::isfinite(y) && std::abs(y) < kGreatest && (!logarithmic || y > kLeast);
}

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  bool empty() const { return low > high; }
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

struct Ranges {
  Range x, y;
};

Ranges ranges_of(const Chart& chart, bool logarithmic) {
  Ranges r;
  for (const Series& s : chart.series)
    for (size_t i = 0; i < s.x.size(); ++i) {
      if (can_draw(s.x[i])) r.x.add(s.x[i]);
      if (can_draw(s.y[i], logarithmic)) r.y.add(s.y[i]);
    }
  return r;
}

bool spans_decades(const Range& y) { return !y.empty() && y.low > kLeast && y.high / y.low >= 100; }

// Where curves and text go, in units of the viewBox.
struct Frame {
  double left, right, top, bottom;
  Axis x, y;
  double across(double value) const { return left + x.place(value) * (right - left); }
  double up(double value) const { return bottom - y.place(value) * (bottom - top); }
};

size_t letters(std::string_view text) {
  return size_t(std::ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

// The middle is what tells least.
std::string shortened(const std::string& text, size_t longest) {
  const std::string safe = printable(text, 400);
  if (letters(safe) <= longest) return safe;
  std::vector<std::string_view> characters;
  for (std::string_view rest = safe; !rest.empty();) {
    const size_t size = first_character(rest).size;
    characters.push_back(rest.substr(0, size));
    rest.remove_prefix(size);
  }
  const size_t tail = longest / 2, head = longest - tail - 1;
  std::string out;
  for (size_t i = 0; i < head; ++i) out += characters[i];
  out += "…";
  for (size_t i = characters.size() - tail; i < characters.size(); ++i) out += characters[i];
  return out;
}

int colour_of(const Chart& chart, size_t i) { return chart.series[i].colour < 0 ? int(i) : chart.series[i].colour; }

// The group that a curve and its key in the legend stand in.
std::string coloured(int colour, bool dashed, const std::string& content) {
  const char* dash = dashes[size_t(colour / colours + dashed) % std::size(dashes)];
  return fmt::format("<g class=\"{}\" color=\"{}\" fill=\"none\" stroke=\"currentColor\"{}>{}</g>\n",
                     plot_class(colour), palette[colour % colours].on_light,
                     *dash ? fmt::format(" stroke-dasharray=\"{}\"", dash) : "", content);
}

std::string label(double x, double y, const char* anchor, const std::string& text, const char* more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y, anchor, more,
                     markup(text));
}

constexpr const char* muted = " fill-opacity=\".62\"";

struct Legend {
  std::string svg;
  double height = 0;
};

Legend legend_of(const Chart& chart) {
  constexpr double key = 18, gap = 14;
  Legend legend;
  double x = 0, y = 0;
  const auto longest = size_t((chart.width - key - 6) / kLetter);
  for (size_t i = 0; i < chart.series.size(); ++i) {
    if (!chart.series[i].in_legend) continue;
    const std::string name = shortened(chart.series[i].name, longest);
    const double width = key + 6 + double(letters(name)) * kLetter;
    if (x > 0 && x + width > chart.width) {
      x = 0;
      y += kLine;
    }
    legend.svg += coloured(colour_of(chart, i), chart.series[i].dashed,
                           fmt::format("<path d=\"M{:.1f} {:.1f}h{}\" stroke-width=\"2.4\"/>", x, y - 3.5, key));
    legend.svg += label(x + key + 6, y, "start", name);
    x += width + gap;
  }
  legend.height = y + kLine;
  return legend;
}

std::string axes_of(const Chart& chart, const Frame& f) {
  std::string lines, texts;
  for (size_t i = 0; i < f.y.ticks.size(); ++i) {
    const double y = f.up(f.y.ticks[i]);
    lines += fmt::format("M{:.1f} {:.1f}H{:.1f}", f.left, y, f.right);
    texts += label(f.left - 6, y + 3.8, "end", f.y.labels[i], muted);
  }
  std::string marks;
  for (size_t i = 0; i < f.x.ticks.size(); ++i) {
    const double x = f.across(f.x.ticks[i]);
    marks += fmt::format("M{:.1f} {:.1f}v4", x, f.bottom);
    texts += label(x, f.bottom + 16, "middle", f.x.labels[i], muted);
  }
  texts += label(f.right, f.bottom + 31, "end", chart.x_title, muted);
  return fmt::format(
      "<path d=\"{}\" fill=\"none\" stroke=\"currentColor\" stroke-opacity=\".13\"/>\n"
      "<path d=\"M{:.1f} {:.1f}H{:.1f}{}\" fill=\"none\" stroke=\"currentColor\" stroke-opacity=\".55\"/>\n{}",
      lines, f.left, f.bottom, f.right, marks, texts);
}

// The least and the greatest of each stretch: no spike is lost.
std::vector<size_t> drawn_points(const Series& s, bool logarithmic) {
  std::vector<size_t> kept;
  const size_t n = s.x.size();
  if (n <= kMostDrawn) {
    for (size_t i = 0; i < n; ++i) kept.push_back(i);
    return kept;
  }
  const size_t stretches = kMostDrawn / 4;
  for (size_t k = 0; k < stretches; ++k) {
    const size_t begin = k * n / stretches, end = (k + 1) * n / stretches;
    size_t least = begin, greatest = begin, gap = n;
    for (size_t i = begin; i < end; ++i) {
      if (!can_draw(s.y[i], logarithmic)) gap = i;
      if (!(s.y[i] >= s.y[least])) least = i;
      if (!(s.y[i] <= s.y[greatest])) greatest = i;
    }
    std::array<size_t, 4> points = {least, greatest, end - 1, std::min(gap, end - 1)};
    std::ranges::sort(points);
    for (const size_t i : points)
      if (kept.empty() || i > kept.back()) kept.push_back(i);
  }
  return kept;
}

std::string curve_of(const Chart& chart, size_t index, const Frame& f) {
  const Series& s = chart.series[index];
  const std::vector<size_t> points = drawn_points(s, f.y.logarithmic);
  std::string path, dots;
  size_t drawn = 0;
  for (const size_t i : points) drawn += can_draw(s.y[i], f.y.logarithmic);
  const size_t every = std::max<size_t>(1, (drawn + kMostTitles - 1) / kMostTitles);
  bool on = false;
  size_t count = 0;
  for (const size_t i : points) {
    if (!can_draw(s.y[i], f.y.logarithmic) || !can_draw(s.x[i])) {
      on = false;
      continue;
    }
    const double x = f.across(s.x[i]), y = f.up(s.y[i]);
    path += fmt::format("{}{:.1f} {:.1f}", on ? "L" : "M", x, y);
    if (!on) path += "h0";  // a dot, where nothing follows
    on = true;
    if (++count % every == 0 || count == drawn)
      dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.4\"><title>{}: {} at {} {}</title></circle>", x, y,
                          markup(s.name), brief(s.y[i]), brief(s.x[i]), markup(chart.x_title));
  }
  // A wide border that is not seen is what a pointer finds.
  return coloured(colour_of(chart, index), s.dashed,
                  fmt::format("<path d=\"{}\" stroke-width=\"1.7\" stroke-linejoin=\"round\" stroke-linecap=\"round\"/>"
                              "<g class=\"dots\" fill=\"currentColor\" fill-opacity=\"{}\" stroke-opacity=\"0\" "
                              "stroke-width=\"9\" pointer-events=\"all\">{}</g>",
                              path, drawn <= kMostMarked ? 1 : 0, dots));
}

Frame frame_of(const Chart& chart, double top) {
  Frame f{.right = chart.width - 8.0, .top = top, .bottom = chart.height - 38.0};
  bool logarithmic = chart.scale == Scale::logarithmic;
  Ranges r = ranges_of(chart, logarithmic);
  if (chart.scale == Scale::automatic) logarithmic = spans_decades(r.y);
  if (r.x.empty()) r.x = {0, 1};
  if (r.y.empty()) r.y = {1, 10};
  if (r.x.low > 0 && r.x.low < r.x.high / 5) r.x.low = 0;
  const int rows = std::max(2, int((f.bottom - f.top) / 45)), columns = std::max(2, chart.width / 80);
  const int decades = std::max(2, int((f.bottom - f.top) / 28));
  f.y = logarithmic ? logarithmic_axis(r.y.low, r.y.high, decades) : linear_axis(r.y.low, r.y.high, rows);
  f.x = linear_axis(r.x.low, r.x.high, columns, Ends::exact);
  size_t widest = 1;
  for (const std::string& text : f.y.labels) widest = std::max(widest, letters(text));
  f.left = double(widest) * kLetter + 10;
  return f;
}

std::string body_of(const Chart& chart) {
  std::string text;
  double top = kText;
  if (!chart.title.empty()) {
    text += label(0, top + 3, "start", shortened(chart.title, size_t(chart.width / (kLetter * 1.3))),
                  " font-size=\"14\" font-weight=\"600\"");
    top += 22;
  }
  const Legend legend = legend_of(chart);
  text += fmt::format("<g transform=\"translate(0 {})\">\n{}</g>\n", top, legend.svg);
  top += legend.height + 5;
  const Frame f = frame_of(chart, top + 13);
  text += label(0, top, "start", chart.y_title + (f.y.logarithmic ? ", logarithmic" : ""), muted);
  text += axes_of(chart, f);
  if (ranges_of(chart, f.y.logarithmic).y.empty())
    text += label((f.left + f.right) / 2, (f.top + f.bottom) / 2, "middle", "no values that can be drawn", muted);
  for (size_t i = 0; i < chart.series.size(); ++i) text += curve_of(chart, i, f);
  return text;
}

Chart with_room_for_legend(Chart chart) {
  chart.height += int(legend_of(chart).height - kLine);
  return chart;
}

// `margin` around the chart; `ground` is drawn below it.
std::string element(const Chart& chart, int margin, const std::string& attributes, const std::string& ground) {
  std::string names;
  for (const Series& s : chart.series) names += (names.empty() ? "" : "; ") + s.name;
  return fmt::format(
      "<svg class=\"plot\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{} {} {} {}\"{} role=\"img\" "
      "aria-label=\"{}\" font-family=\"system-ui, sans-serif\" font-size=\"{}\" color=\"#1d1d1b\" "
      "fill=\"currentColor\">\n{}{}</svg>\n",
      -margin, -margin, chart.width + 2 * margin, chart.height + 2 * margin, attributes,
      markup(fmt::format("{}, {} over {}: {}", chart.title, chart.y_title, chart.x_title, names)), kText, ground,
      body_of(chart));
}

}  // namespace

std::string inline_svg(const Chart& chart) { return element(with_room_for_legend(chart), 0, "", ""); }

std::string svg_file(const Chart& given) {
  constexpr int margin = 16;
  const Chart chart = with_room_for_legend(given);
  const int width = chart.width + 2 * margin, height = chart.height + 2 * margin;
  const std::string dark = "@media (prefers-color-scheme: dark) { svg { color: #e6e5e1 } .ground { fill: #17181a } }\n";
  return element(chart, margin, fmt::format(" width=\"{}\" height=\"{}\"", width, height),
                 fmt::format("<style>\n{}{}</style>\n<rect class=\"ground\" x=\"{}\" y=\"{}\" width=\"{}\" "
                             "height=\"{}\" fill=\"#fff\"/>\n",
                             plot_style(), dark, -margin, -margin, width, height));
}

std::string plot_class(int colour) { return fmt::format("c{}", colour % colours); }

std::string plot_style() {
  std::string light, dark;
  for (int i = 0; i < colours; ++i) {
    light += fmt::format(".{} {{ color: {} }}\n", plot_class(i), palette[i].on_light);
    dark += fmt::format(".{} {{ color: {} }}\n", plot_class(i), palette[i].on_dark);
  }
  return fmt::format("{}.dots circle:hover {{ fill-opacity: 1 }}\n@media (prefers-color-scheme: dark) {{\n{}}}\n",
                     light, dark);
}

}  // namespace firn
