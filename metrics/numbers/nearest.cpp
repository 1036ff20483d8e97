#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <mutex>

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
  const Distances distances = &a == &b ? Distances(a) : Distances(a, b);
  const bool itself = distances.of_one();
  if (k < 1 || b.rows - itself < k)
    throw Error(
        fmt::format("{} nearest neighbours need more than {} images, there are {}", k, itself ? k : k - 1, b.rows));
  std::vector<Shortlist> lists(size_t(a.rows));
  std::vector<std::mutex> locks(size_t(a.rows));
  const auto offer = [&](int64_t i, int64_t j, float least) {
    Shortlist& list = lists[size_t(i)];
    list.offer(k, least, distances.most(least, i, j), j);
    if (list.is_full(k)) list.settle(k, distances, [&](int64_t row) { return distances.exactly(i, row); });
  };
  distances.for_tiles([&](const Distances::Tile& t) {
    for (int64_t i = t.row; i < t.row + t.rows; ++i) {
      const std::lock_guard lock(locks[size_t(i)]);
      const float* least = t.least + (i - t.row) * t.columns;
      for (int64_t j = 0; j < t.columns; ++j)
        if (least[j] <= lists[size_t(i)].bar() && !(itself && i == t.column + j)) offer(i, t.column + j, least[j]);
    }
    if (!itself || t.row == t.column) return;
    for (int64_t j = 0; j < t.columns; ++j) {
      const std::lock_guard lock(locks[size_t(t.column + j)]);
      for (int64_t i = 0; i < t.rows; ++i)
        if (const float least = t.least[i * t.columns + j]; least <= lists[size_t(t.column + j)].bar())
          offer(t.column + j, t.row + i, least);
    }
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
