// Line charts as SVG, without scripts and without anything from elsewhere: inline in a page, or a file of its own.
#pragma once
#include <string>
#include <vector>

namespace firn {

struct Series {
  std::string name;
  std::vector<double> x, y;  // equally many, x rising; what is not finite in y leaves a gap
  int colour = -1;           // of the palette; -1: by the place in the chart
  bool dashed = false, in_legend = true;
};

enum class Scale { automatic, linear, logarithmic };  // automatic: logarithmic for positive values of over two decades

struct Chart {
  std::string title;  // empty: none
  std::string x_title, y_title;
  std::vector<Series> series;
  Scale scale = Scale::automatic;  // of y; what has no logarithm leaves a gap
  int width = 720, height = 420;   // more rows of the legend make it higher
};

// An <svg> element as wide as what holds it. Colours are those of plot_style(), which a page has once, and otherwise of
// a light ground. Points have their values as titles; of long curves those that can be told apart are drawn.
std::string inline_svg(const Chart& chart);
std::string svg_file(const Chart& chart);  // stand-alone, for light and dark screens

// CSS: classes c0, c1, ... of colours that people tell apart however they see them, on light and dark grounds.
std::string plot_style();
std::string plot_class(int colour);  // "c0"; colours recur

}  // namespace firn
