// Running means of named quantities over one tick. Values that are not finite are counted apart, so that one overflow
// does not hide the rest of a tick.
#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace firn {

struct Stat {
  int64_t finite = 0, not_finite = 0;
  double sum = 0, squares = 0;

  void add(double value);
  double mean() const;  // NaN when nothing finite was added
  double deviation() const;
  bool mostly_not_finite() const { return not_finite > finite; }
  bool operator==(const Stat&) const = default;
};

using Stats = std::map<std::string, Stat>;

double mean_of(const Stats& stats, const std::string& name);  // NaN when it is not there

}  // namespace firn
