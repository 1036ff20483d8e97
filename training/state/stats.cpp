#include "training/state/stats.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/ops/control.h"

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

DeviceStats::DeviceStats(const Device& device) : sums_(Tensor::zeros({kMost, 4}, DType::f64, device)) {}

size_t DeviceStats::slot(const std::string& name) {
  const size_t i = static_cast<size_t>(std::ranges::find(names_, name) - names_.begin());
  if (i == kMost) throw Error(fmt::format("statistics: there are no more than {}", kMost));
  if (i == names_.size()) names_.push_back(name);
  return i;
}

void DeviceStats::add(const std::string& name, const Tensor& value) {
  dispatch_acc(value.type(), [&](auto tag) {
    using T = decltype(tag);
    auto* stat = static_cast<kernels::RunningStat*>(sums_.mutable_data()) + slot(name);
    run(sums_.stream(), kernels::AddToStat<T>{stat, value.as<T>()});
  });
}

Stats DeviceStats::read() const {
  const std::vector<double> sums = sums_.to_doubles();
  Stats stats;
  for (size_t i = 0; i < names_.size(); ++i) {
    const double* s = sums.data() + 4 * i;
    if (s[0] + s[1] > 0)
      stats[names_[i]] = {.finite = int64_t(s[0]), .not_finite = int64_t(s[1]), .sum = s[2], .squares = s[3]};
  }
  return stats;
}

void DeviceStats::set(const Stats& stats) {
  std::vector<double> sums(4 * kMost, 0);
  for (const auto& [name, s] : stats) {
    const double values[] = {double(s.finite), double(s.not_finite), s.sum, s.squares};
    std::ranges::copy(values, sums.begin() + std::ptrdiff_t(4 * slot(name)));
  }
  sums_.copy_from(Tensor::from(sums, sums_.shape(), DType::f64, sums_.device()));
}

double mean_of(const Stats& stats, const std::string& name) {
  const auto it = stats.find(name);
  return it == stats.end() ? std::numeric_limits<double>::quiet_NaN() : it->second.mean();
}

}  // namespace firn
