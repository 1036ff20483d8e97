// Running means of named quantities over one tick, added up on the device and read when someone asks. Values that are
// not finite are counted apart, so that one overflow does not hide the rest of a tick.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/tensor.h"

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

class DeviceStats {
 public:
  explicit DeviceStats(const Device& device);
  void add(const std::string& name, const Tensor& value);  // one number, on the device; nothing is read
  Stats read() const;                                      // those with a value; waits for the device
  void set(const Stats& stats);

 private:
  static constexpr size_t kMost = 32;
  size_t slot(const std::string& name);
  std::vector<std::string> names_;
  Tensor sums_;  // [kMost,4] f64: kernels::RunningStat
};

double mean_of(const Stats& stats, const std::string& name);  // NaN when it is not there

}  // namespace firn
