#include "kernels/device/arena.h"

#include <algorithm>
#include <numeric>

#include "kernels/device/memory.h"

namespace firn::kernels {

ArenaPlan plan_arena(std::span<const Lifetime> lifetimes) {
  constexpr size_t alignment = 256;
  const size_t n = lifetimes.size();
  ArenaPlan plan;
  plan.offsets.resize(n);
  for (const Lifetime& l : lifetimes) plan.bytes.push_back(l.bytes);
  const auto rounded = [&](size_t i) {
    return (std::max<size_t>(lifetimes[i].bytes, 1) + alignment - 1) / alignment * alignment;
  };
  const auto together = [&](size_t i, size_t j) {  // i < j
    return lifetimes[i].end > static_cast<int64_t>(j);
  };
  std::vector<size_t> order(n), placed;
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return lifetimes[a].bytes > lifetimes[b].bytes; });
  for (const size_t i : order) {  // `placed` is sorted by offset
    size_t offset = 0;
    for (const size_t j : placed) {
      if (!together(std::min(i, j), std::max(i, j))) continue;
      if (plan.offsets[j] >= offset + rounded(i)) break;
      offset = std::max(offset, plan.offsets[j] + rounded(j));
    }
    plan.offsets[i] = offset;
    plan.size = std::max(plan.size, offset + rounded(i));
    placed.insert(std::ranges::upper_bound(placed, offset, {}, [&](size_t j) { return plan.offsets[j]; }), i);
  }
  return plan;
}

ArenaBlock::ArenaBlock(const Stream& stream, size_t size)
    : stream_(stream), data_(allocate(stream, size)), size_(size) {}
ArenaBlock::~ArenaBlock() { release(stream_, data_, size_); }

}  // namespace firn::kernels
