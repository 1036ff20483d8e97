// What the warps of a warpgroup do together, and what they hand to each other: products, registers.
#include <algorithm>

#include "tests/ptx/block.h"

namespace firn::ptx {

bool Warp::meet(uint64_t with) {
  const size_t warp = first_thread_ / 32;
  Block::Warpgroup& group = block_.warpgroups[warp / 4];
  size_t& mine = group.come[warp % 4];
  if (!block_.is_whole(warp / 4)) return report("warpgroup: the block has no four warps for it", 0), true;
  if (!meets_) {
    const std::pair step(current_, with);
    if (mine == group.steps.size()) group.steps.push_back(step);
    if (group.steps[mine] != step) report("warpgroup: its warps part ways", 0);
    ++mine;
    ++block_.progress;
  }
  meets_ = std::ranges::any_of(group.come, [&](size_t other) { return other < mine; });
  if (meets_) stay();
  return !meets_;
}

void Warp::set_registers(uint64_t count, bool more) {
  if (!asks_ && !meet(count)) return;
  if (block_.entry.most_threads == 0) report("setmaxnreg: a kernel without launch bounds", 0);
  if (more ? count < held_ : count > held_) report("setmaxnreg: it has more already, or fewer", 0);
  asks_ = count > held_ + block_.free_registers / 32;
  if (asks_) return stay();
  block_.free_registers += (held_ - count) * 32;
  held_ = count;
  ++block_.progress;
}

void Warp::fence_products() {
  uses_.resize(registers_.size() / 32);
  for (uint8_t& use : uses_) use &= static_cast<uint8_t>(~kWritten);
  watches_ = true;
}

void Warp::begin_product(const Product& product) {
  uses_.resize(registers_.size() / 32, kWritten);
  bool fenced = true;
  const auto mark = [&](const std::vector<int>& registers, Use use) {
    for (const int r : registers) {
      fenced &= !(uses_[static_cast<size_t>(r)] & kWritten);
      uses_[static_cast<size_t>(r)] |= use;
    }
  };
  mark(product.sums, kSum);
  mark(product.left, kLeft);
  if (!fenced) report("wgmma: no wgmma.fence between a register's write and its use", 0);
  for (const auto& [address, bytes] : product.right) block_.checker.lend(address, bytes, 1);
}

void Warp::await_products(size_t newer) {
  while (groups_.size() - 1 > newer) {
    for (const Product& p : groups_.front()) {
      for (const auto* registers : {&p.sums, &p.left})
        for (const int r : *registers) uses_[static_cast<size_t>(r)] &= kWritten;
      for (const auto& [address, bytes] : p.right) block_.checker.lend(address, bytes, -1);
    }
    groups_.pop_front();
  }
  for (const auto& group : groups_)
    for (const Product& p : group) {
      for (const int r : p.sums) uses_[static_cast<size_t>(r)] |= kSum;
      for (const int r : p.left) uses_[static_cast<size_t>(r)] |= kLeft;
    }
}

}  // namespace firn::ptx
