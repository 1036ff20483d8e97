#include "tests/ptx/checker.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "base/error.h"

namespace firn::ptx {
namespace {
constexpr size_t kReserved = size_t{1} << 36;  // address space; memory comes with use
constexpr size_t kAlignment = 256;  // as cudaMalloc; at least as many bytes between two blocks belong to nobody
constexpr int kPoison = 0xff;       // NaN in every floating-point type
constexpr size_t kMostFindings = 20;
}  // namespace

Checker::Checker() {
  void* p = mmap(nullptr, kReserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  reserved_ = next_ = static_cast<std::byte*>(p);
}

Checker::~Checker() { munmap(reserved_, kReserved); }

void* Checker::allocate(size_t bytes) {
  std::byte* block = next_;
  next_ += (bytes + 2 * kAlignment - 1) / kAlignment * kAlignment;
  if (next_ > reserved_ + kReserved) throw std::bad_alloc();
  std::memset(block, kPoison, bytes);
  regions_[reinterpret_cast<uint64_t>(block)] = {block, std::vector<Cell>(bytes)};
  return block;
}

void Checker::release(void* block) {
  const auto found = regions_.find(reinterpret_cast<uint64_t>(block));
  if (found == regions_.end()) throw Error("PTX runtime: a block is released that was never allocated");
  const size_t bytes = found->second.cells.size();
  constexpr uintptr_t page = 4096;
  const uintptr_t first = (reinterpret_cast<uintptr_t>(block) + page - 1) / page * page,
                  last = (reinterpret_cast<uintptr_t>(block) + bytes) / page * page;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  regions_.erase(found);
  latest_ = nullptr;
}

void Checker::adopt(std::vector<std::byte>& variable) {
  Region region{variable.data(), std::vector<Cell>(variable.size())};
  for (Cell& c : region.cells) c.written = true;
  regions_[reinterpret_cast<uint64_t>(variable.data())] = std::move(region);
}

Checker::Region* Checker::region_at(uint64_t address) {
  const auto inside = [&](const Region* r) {
    const uint64_t first = reinterpret_cast<uint64_t>(r->bytes);
    return address >= first && address < first + r->cells.size();
  };
  if (latest_ && inside(latest_)) return latest_;
  auto after = regions_.upper_bound(address);
  if (after == regions_.begin()) return nullptr;
  Region* r = &std::prev(after)->second;
  return inside(r) ? latest_ = r : nullptr;
}

void Checker::host_access(const void* p, size_t bytes, Access access) {
  if (bytes == 0) return;
  const uint64_t address = reinterpret_cast<uint64_t>(p);
  Region* r = region_at(address);
  const size_t first = r ? address - reinterpret_cast<uint64_t>(r->bytes) : 0;
  if (!r || first + bytes > r->cells.size()) throw Error("PTX runtime: a copy outside every allocation");
  for (size_t i = first; i < first + bytes; ++i) {
    if (access == Access::write) r->cells[i].written = true;
    if (access == Access::read && !r->cells[i].written)
      throw Error("PTX runtime: the host reads device memory that nobody wrote");
  }
}

void Checker::begin_launch(const Module& module, const Function& kernel) {
  module_ = &module;
  kernel_ = &kernel;
  first_block_ = block_ + 1;
  seen_.clear();
}

void Checker::begin_block(uint64_t bytes) {
  ++block_;
  proxy_fences_.assign(4096, 0);
  shared_bytes_.assign(bytes, std::byte{kPoison});
  shared_ = {shared_bytes_.data(), std::vector<Cell>(bytes)};
}

void Checker::set_in_flight(uint64_t address, size_t bytes, bool in_flight) {
  for (uint64_t i = address; i < address + bytes; ++i) shared_.cells[i].in_flight = in_flight;
}

void Checker::lend(uint64_t address, size_t bytes, int more) {
  for (uint64_t i = address; i < address + bytes && i < shared_.cells.size(); ++i)
    shared_.cells[i].lent = static_cast<uint8_t>(shared_.cells[i].lent + more);
}

bool Checker::ordered(const Touch& before, const Touch& now, const Actor& actor) const {
  if (before.block < first_block_) return true;  // nobody, or an earlier launch
  if (before.block != now.block) return false;
  if (before.thread == now.thread || before.block_barriers != now.block_barriers) return true;
  const size_t warp = before.thread / 32;
  if (warp == now.thread / 32) return before.warp_barriers < now.warp_barriers;
  return actor.knows && warp < actor.knows->size() && before.warp_barriers < (*actor.knows)[warp];
}

void Checker::report(const std::string& what, const Actor& actor, int place) {
  const std::string at = module_ ? module_->places[static_cast<size_t>(place)] : "?";
  if (!seen_.insert(what + at).second || findings_.size() >= kMostFindings) return;
  findings_.push_back(fmt::format("{} at {} (thread {} of {})", what, at, actor.thread, kernel_->name));
}

void Checker::check_cell(Cell& cell, const Touch& now, Access access, const Actor& actor, int place) {
  const auto against = [&](const Touch& other) {
    return fmt::format(", against {}{}", other.block == now.block ? "" : "another block's ",
                       module_->places[static_cast<size_t>(other.place)]);
  };
  if (cell.in_flight)
    report(access == Access::read ? "read before cp.async has arrived" : "write before cp.async has arrived", actor,
           place);
  if (actor.asynchronous && access == Access::read && cell.write.block == block_ && !cell.write.asynchronous &&
      cell.write.proxy_fences == proxy_fences_[cell.write.thread])
    report("no fence.proxy.async between a write and an asynchronous read", actor, place);
  if (cell.lent && access != Access::read) report("write to what a wgmma still reads", actor, place);
  if (access != Access::write && !cell.written) report("read of memory that nobody wrote", actor, place);
  if (!(now.atomic && cell.write.atomic) && !ordered(cell.write, now, actor))
    report((access == Access::read ? "race: read beside a write" : "race: write beside a write") + against(cell.write),
           actor, place);
  if (access == Access::read) {
    // Two readers are remembered, of different warps where there are such: one is concurrent with any later writer.
    const Touch& r = cell.read[0];
    const bool keep =
        r.block == now.block && r.block_barriers == now.block_barriers && r.thread / 32 != now.thread / 32;
    const bool same_warp_other_lane = r.block == now.block && r.thread / 32 == now.thread / 32 &&
                                      r.thread != now.thread && r.warp_barriers == now.warp_barriers;
    cell.read[keep || same_warp_other_lane] = now;
    return;
  }
  for (const Touch& r : cell.read)
    if (!ordered(r, now, actor)) report("race: write beside a read" + against(r), actor, place);
  cell.write = now;
  cell.written = true;
}

std::byte* Checker::touch(Space space, uint64_t address, size_t bytes, Access access, const Actor& actor, int place) {
  if (address % bytes) report("misaligned access", actor, place);
  Region* r = space == Space::shared ? &shared_ : region_at(address);
  const uint64_t base = space == Space::shared || !r ? 0 : reinterpret_cast<uint64_t>(r->bytes);
  const uint64_t first = address - base;
  bool outside = !r || first + bytes > r->cells.size();
  if (!outside && space == Space::shared)
    for (const auto& [begin, end] : kernel_->shared_gaps) outside |= first < end && first + bytes > begin;
  if (outside) {
    report(space == Space::shared ? "access outside every shared variable" : "access outside every allocation", actor,
           place);
    return nullptr;
  }
  const Touch now{block_,
                  actor.block_barriers,
                  actor.warp_barriers,
                  static_cast<uint16_t>(actor.thread),
                  access == Access::atomic,
                  actor.asynchronous,
                  proxy_fences_[actor.thread],
                  place};
  for (uint64_t i = first; i < first + bytes; ++i) check_cell(r->cells[i], now, access, actor, place);
  return r->bytes + first;
}

std::vector<std::string> Checker::take_findings() { return std::exchange(findings_, {}); }

}  // namespace firn::ptx
