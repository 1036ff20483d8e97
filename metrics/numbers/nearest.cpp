#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "metrics/numbers/distances.h"

namespace firn {
namespace {

// Keeps what may be among the k nearest of one row; it is computed in double when all was seen, or when it is much.
class Shortlist {
 public:
  using Square = std::function<double(int64_t row)>;

  float bar() const { return bar_; }  // what is further away is out

  void offer(int k, float least, float most, int64_t row) {
    open_.push_back({std::max(least, 0.0f), row});
    if (std::ssize(most_) == k) {
      if (most >= most_.front()) return;
      std::ranges::pop_heap(most_);
      most_.back() = most;
    } else {
      most_.push_back(most);
    }
    std::ranges::push_heap(most_);
    if (std::ssize(most_) == k) bar_ = std::min(bar_, most_.front());
  }

  bool is_full(int k) const { return std::ssize(open_) > 16 * k + 100; }

  void settle(int k, const Distances& distances, const Square& square) {
    std::ranges::sort(open_);
    for (const auto& [least, row] : open_) {
      const bool full = std::ssize(nearest_) == k;
      if (full) {
        const Neighbour& last = nearest_.front();
        const float bar = distances.in_units(last.square);
        if (least > bar) break;
        if (last.square == 0 && row > last.row) continue;  // as near at best, as duplicates are
      }
      const Neighbour n{square(row), row};
      if (full && n > nearest_.front()) continue;
      if (full) {
        std::ranges::pop_heap(nearest_);
        nearest_.pop_back();
      }
      nearest_.push_back(n);
      std::ranges::push_heap(nearest_);
    }
    open_.clear();
    if (std::ssize(nearest_) == k) bar_ = std::min(bar_, distances.in_units(nearest_.front().square));
  }

  void sorted_to(Neighbour* out) {
    std::ranges::sort_heap(nearest_);
    std::ranges::copy(nearest_, out);
  }

 private:
  float bar_ = std::numeric_limits<float>::infinity();
  std::vector<float> most_;                      // the k least upper bounds, a heap
  std::vector<std::pair<float, int64_t>> open_;  // least, row
  std::vector<Neighbour> nearest_;               // of those settled, a heap
};

}  // namespace

std::vector<Neighbour> nearest_of_each(const Matrix& a, const Matrix& b, int k) {
  const bool itself = &a == &b;
  if (k < 1 || b.rows - itself < k)
    throw Error(
        fmt::format("{} nearest neighbours need more than {} images, there are {}", k, itself ? k : k - 1, b.rows));
  const Distances distances = itself ? Distances(a) : Distances(a, b);
  std::vector<Shortlist> lists(size_t(a.rows));
  distances.for_parts([&](const Distances::Part& p) {
    Shortlist& list = lists[size_t(p.row)];
    const auto near = [&](int64_t j) { return p.least[size_t(j)] <= list.bar(); };
    for_few(std::ssize(p.least), near, [&](int64_t j) {
      const float least = p.least[size_t(j)];
      list.offer(k, least, distances.most(least, p.row, p.first + j), p.first + j);
      if (list.is_full(k)) list.settle(k, distances, [&](int64_t row) { return distances.exactly(p.row, row); });
    });
  });
  std::vector<Neighbour> nearest(size_t(a.rows * k));
#pragma omp parallel for schedule(dynamic, 16)
  for (int64_t i = 0; i < a.rows; ++i) {
    Shortlist& list = lists[size_t(i)];
    list.settle(k, distances, [&](int64_t row) { return distances.exactly(i, row); });
    list.sorted_to(nearest.data() + i * k);
  }
  return nearest;
}

}  // namespace firn
