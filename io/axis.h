// Axes of charts: ranges, round ticks and how numbers are written beside them.
#pragma once
#include <string>
#include <vector>

namespace firn {

struct Axis {
  double low = 0, high = 1;
  bool logarithmic = false;
  std::vector<double> ticks;        // rising, within the range
  std::vector<std::string> labels;  // one a tick

  double place(double value) const;  // 0 at `low`, 1 at `high`
};

enum class Ends { round, exact };  // of a range: widened to the next ticks, or as given

// About `ticks` of them, at multiples of 1, 2 or 5 times a power of ten. Sizes below 1e300, low <= high; a range of
// nothing is widened.
Axis linear_axis(double low, double high, int ticks, Ends ends = Ends::round);
// Powers of ten, with 2 and 5 times these where they are few; the ends are round. 1e-300 < low <= high < 1e300.
Axis logarithmic_axis(double low, double high, int ticks);

// For people: four digits or, above 1000, all those before the point; "–" where it is not finite.
enum class Zeros { drop, keep };  // at the end, behind the point
std::string brief(double value, Zeros zeros = Zeros::drop);

}  // namespace firn
