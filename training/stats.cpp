#include "training/stats.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace firn {

void Stat::add(double value) {
  if (!std::isfinite(value)) {
    ++not_finite;
    return;
  }
  ++finite;
  sum += value;
  squares += value * value;
}

double Stat::mean() const { return finite ? sum / double(finite) : std::numeric_limits<double>::quiet_NaN(); }

double Stat::deviation() const {
  return finite ? std::sqrt(std::max(0.0, squares / double(finite) - mean() * mean())) : mean();
}

double mean_of(const Stats& stats, const std::string& name) {
  const auto it = stats.find(name);
  return it == stats.end() ? std::numeric_limits<double>::quiet_NaN() : it->second.mean();
}

}  // namespace firn
