#include "io/plot.h"

#include <cmath>
#include <limits>

#include "io/axis.h"
#include "io/markup.h"
#include "tests/io/io_support.h"

namespace firn {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

int count(std::string_view text, std::string_view part) {
  int n = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

Chart chart_of(std::vector<double> y) {
  Series s{.name = "loss", .y = std::move(y)};
  for (size_t i = 0; i < s.y.size(); ++i) s.x.push_back(double(i));
  return {.x_title = "kimg", .y_title = "loss", .series = {s}};
}

std::vector<std::string> grid_lines(const std::string& svg) {  // where they are, the lowest first
  const std::string path = svg.substr(svg.find("<path d=\"M", svg.find("text-anchor=\"start\" fill")));
  std::vector<std::string> lines;
  for (size_t at = path.find('H'); at < path.find("\" fill"); at = path.find('H', at + 1)) {
    const size_t begin = path.rfind(' ', at) + 1;
    lines.push_back(path.substr(begin, at - begin));
  }
  return lines;
}

using Labels = std::vector<std::string>;

TEST(Axis, TicksAreRoundNumbers) {
  const Axis a = linear_axis(0.13, 0.87, 5);
  EXPECT_EQ(a.ticks, (std::vector<double>{0, 0.2, 0.4, 0.6, 0.8, 1.0}));
  EXPECT_EQ(a.labels, (Labels{"0", "0.2", "0.4", "0.6", "0.8", "1.0"}));
  EXPECT_EQ(a.low, 0);
  EXPECT_EQ(a.high, 1);
  EXPECT_EQ(linear_axis(-3, 12, 4).ticks, (std::vector<double>{-5, 0, 5, 10, 15}));
  EXPECT_EQ(linear_axis(-3, 12, 4).labels.front(), "−5");
  EXPECT_EQ(linear_axis(0, 25000, 5).labels.back(), "25,000");
}

TEST(Axis, ExactEndsKeepTheRange) {
  const Axis a = linear_axis(0.08, 40, 5, Ends::exact);
  EXPECT_EQ(a.low, 0.08);
  EXPECT_EQ(a.high, 40);
  EXPECT_EQ(a.ticks, (std::vector<double>{10, 20, 30, 40}));
  EXPECT_DOUBLE_EQ(a.place(40), 1);
}

TEST(Axis, ARangeOfNothingIsWidened) {
  for (const double value : {0.0, 3.0, -2.5e9, 1e-12, 1e200}) {
    const Axis a = linear_axis(value, value, 5);
    EXPECT_LE(a.low, value);
    EXPECT_GT(a.high, value);
    EXPECT_GE(a.ticks.size(), 2u) << value;
    EXPECT_LE(a.ticks.size(), 12u) << value;
  }
}

TEST(Axis, LogarithmsHaveDecadesOrWhatLiesBetween) {
  EXPECT_EQ(logarithmic_axis(0.002, 3000, 7).labels, (Labels{"0.01", "0.1", "1", "10", "100", "1,000"}));
  const Axis few = logarithmic_axis(3, 60, 6);
  EXPECT_EQ(few.ticks, (std::vector<double>{2, 5, 10, 20, 50, 100}));
  EXPECT_EQ(few.place(2), 0);
  EXPECT_EQ(few.place(100), 1);
  const Axis many = logarithmic_axis(1e-20, 1e20, 5);
  EXPECT_LE(many.ticks.size(), 7u);
  EXPECT_MENTIONS(many.labels.front(), "10⁻");
  EXPECT_GT(logarithmic_axis(10, 10, 5).high, 10);
}

TEST(Axis, NumbersAreBrief) {
  EXPECT_EQ(brief(23.456), "23.46");
  EXPECT_EQ(brief(-0.5), "−0.5");
  EXPECT_EQ(brief(1234567), "1,234,567");
  EXPECT_EQ(brief(0.00001234), "1.234·10⁻⁵");
  EXPECT_EQ(brief(58.1, Zeros::keep), "58.10");
  EXPECT_EQ(brief(999.99), "1,000");
  EXPECT_EQ(brief(0), "0");
  EXPECT_EQ(brief(nan), "–");
}

TEST(Markup, IsTextWhateverItSays) {
  EXPECT_EQ(markup("<script>alert(\"1\" & '2')</script>"),
            "&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;");
  EXPECT_EQ(markup("a\xff\x01z"), "a??z");
}

TEST(Plot, HasAxesUnitsALegendAndValues) {
  const std::string svg = inline_svg(chart_of({1, 3, 2}));
  for (const char* part :
       {">kimg</text>", ">loss</text>", ">0</text>", "<title>loss: 3 at 1 kimg</title>", "class=\"c0\""})
    EXPECT_MENTIONS(svg, part);
  EXPECT_EQ(count(svg, "<circle"), 3);
}

TEST(Plot, WhatIsNotFiniteLeavesAGap) {
  const std::string svg = inline_svg(chart_of({1, 2, nan, 2, infinity, 3, 1}));
  EXPECT_EQ(count(svg, "<circle"), 5);
  EXPECT_EQ(count(svg, "h0"), 3);  // three strokes
  EXPECT_EQ(svg.find("nan"), svg.npos);
  EXPECT_EQ(svg.find("inf"), svg.npos);
}

TEST(Plot, NumbersOfAnySizeAreDrawn) {
  for (const double size : {5e-324, 1e-310, 1e-200, 1e200, 1.7e308})
    for (const Scale scale : {Scale::automatic, Scale::logarithmic}) {
      Chart chart = chart_of({size, -size, size / 3, 0});
      chart.scale = scale;
      chart.series[0].x[2] = size;
      const std::string svg = inline_svg(chart);
      EXPECT_LT(svg.size(), 20000u) << size;
      EXPECT_EQ(svg.find("nan"), svg.npos) << size;
      EXPECT_EQ(svg.find("inf"), svg.npos) << size;
    }
}

TEST(Plot, NothingToDrawIsSaid) {
  EXPECT_MENTIONS(inline_svg(chart_of({nan, nan})), "no values that can be drawn");
  EXPECT_MENTIONS(inline_svg(chart_of({})), "no values that can be drawn");
  EXPECT_MENTIONS(inline_svg(Chart{}), "no values that can be drawn");
  Chart negative = chart_of({-1, -2});
  negative.scale = Scale::logarithmic;
  EXPECT_MENTIONS(inline_svg(negative), "no values that can be drawn");
}

TEST(Plot, IsLogarithmicWhereValuesSpanDecades) {
  EXPECT_MENTIONS(inline_svg(chart_of({1, 1000})), "loss, logarithmic");
  EXPECT_EQ(inline_svg(chart_of({0, 1000})).find("logarithmic"), std::string::npos);
  EXPECT_EQ(inline_svg(chart_of({20, 90})).find("logarithmic"), std::string::npos);
  Chart linear = chart_of({1, 1000});
  linear.scale = Scale::linear;
  EXPECT_EQ(inline_svg(linear).find("logarithmic"), std::string::npos);
}

TEST(Plot, LongCurvesAreThinnedAndKeepTheirSpikes) {
  std::vector<double> y(100000, 1.0);
  y[31234] = 10;
  y[77777] = -10;
  const std::string svg = inline_svg(chart_of(y));
  EXPECT_LT(svg.size(), 40000u);
  const std::vector<std::string> lines = grid_lines(svg);
  EXPECT_MENTIONS(svg, " " + lines.front() + "L");
  EXPECT_MENTIONS(svg, " " + lines.back() + "L");
  EXPECT_LE(count(svg, "<circle"), 121);
}

TEST(Plot, ColoursRecurWithDashes) {
  Chart chart;
  for (int i = 0; i < 10; ++i)
    chart.series.push_back({.name = fmt::format("run {}", i), .x = {0, 1}, .y = {0, 1.0 * i}});
  const std::string svg = inline_svg(chart);
  EXPECT_EQ(count(svg, "class=\"c0\""), 4);  // keys and curves of runs 0 and 8
  EXPECT_EQ(count(svg, "stroke-dasharray"), 4);
}

TEST(Plot, NamesAreEscapedAndCutToFit) {
  Chart chart = chart_of({1, 2});
  chart.series[0].name = "<script>alert(1)</script>" + std::string(300, 'x') + "end";
  chart.width = 300;
  const std::string svg = svg_file(chart);
  EXPECT_EQ(svg.find("<script"), svg.npos);
  EXPECT_MENTIONS(svg, "&lt;script");
  EXPECT_MENTIONS(svg, "…");
}

TEST(Plot, AFileStandsAlone) {
  const std::string svg = svg_file(chart_of({1, 2}));
  EXPECT_TRUE(svg.starts_with("<svg"));
  for (const char* part : {"width=\"752\" height=\"452\"", "prefers-color-scheme: dark", "class=\"ground\""})
    EXPECT_MENTIONS(svg, part);
  EXPECT_EQ(count(svg, "http"), 1);  // the name of the language
}

}  // namespace
}  // namespace firn
