#include "tests/ptx/executor.h"

#include <algorithm>

#include "base/error.h"
#include "tests/ptx/block.h"

namespace firn::ptx {

namespace {

void merge(Knowledge& to, const Knowledge& from) {
  to.resize(std::max(to.size(), from.size()));
  for (size_t i = 0; i < from.size(); ++i) to[i] = std::max(to[i], from[i]);
}

}  // namespace

Warp::Warp(Block& block, uint32_t first_thread, uint32_t lanes)
    : block_(block), first_thread_(first_thread), all_(lanes == 32 ? ~0u : (1u << lanes) - 1) {}

// The memory of a warp serves one block after another.
void Warp::begin(int pc) {
  const int registers = std::max(block_.entry.registers, block_.module.called_registers);
  registers_.assign(static_cast<size_t>(registers) * 32, 0xdeadbeefdeadbeef);
  local_.assign(32 * block_.module.local_bytes, std::byte{0});
  parameters_.assign(32 * block_.module.parameter_bytes, std::byte{0});
  for (int i = 0; i < 32; ++i) {
    pc_[i] = pc;
    state_[i] = all_ >> i & 1 ? State::running : State::done;
    calls_[i].clear();
    copies_[i] = {};
  }
  barriers_ = 0;
  uses_.clear();
  watches_ = false;
  groups_.assign(1, {});
  knows_.clear();
  meets_ = asks_ = false;
  held_ = block_.entry.thread_registers();
}

void Warp::end() {
  for (int lane = 0; lane < 32; ++lane) {
    if (state_[lane] != State::done) {
      current_ = pc_[lane];
      report(meets_  ? "warpgroup: its warps part ways"
             : asks_ ? "setmaxnreg: the block has fewer registers than its warps ask for"
                     : "deadlock: what is waited for never comes",
             lane);
    }
    if (!copies_[lane].waiting.empty()) report("cp.async: the thread leaves before it has arrived", lane);
  }
  if (groups_.size() > 1 || !groups_.front().empty()) report("wgmma: a warp leaves before wait_group", 0);
}

uint64_t Warp::special(int reg, int lane) const {
  const uint32_t thread = first_thread_ + static_cast<uint32_t>(lane);
  const Dim3 &block = block_.launch.block, &grid = block_.launch.grid;
  const uint64_t values[] = {// as kSpecialRegisters names them
                             thread % block.x,
                             thread / block.x % block.y,
                             thread / block.x / block.y,
                             block_.index.x,
                             block_.index.y,
                             block_.index.z,
                             block.x,
                             block.y,
                             block.z,
                             grid.x,
                             grid.y,
                             grid.z,
                             static_cast<uint64_t>(lane),
                             first_thread_ / 32,
                             block_.dynamic_shared()};
  static_assert(std::size(values) == std::size(kSpecialRegisters));
  return values[reg];
}

Actor Warp::actor(int lane) const {
  return {first_thread_ + static_cast<uint32_t>(lane), block_.barriers, barriers_, &knows_, in_product_};
}

int Warp::place() const { return block_.module.code[static_cast<size_t>(current_)].place; }

void Warp::report(const std::string& what, int lane) const { block_.checker.report(what, actor(lane), place()); }

Bulk& Warp::bulk() { return block_.bulk; }

void Warp::fence_proxy(int lane) { block_.checker.fence_proxy(actor(lane).thread); }

void Warp::release(Knowledge& to) const {
  const size_t warp = first_thread_ / 32;
  merge(to, knows_);
  to.resize(std::max(to.size(), warp + 1));
  to[warp] = std::max(to[warp], barriers_);
}

void Warp::acquire(const Knowledge& from) { merge(knows_, from); }

std::byte* Warp::memory(Space space, const Operand& o, size_t bytes, Access access, int lane) {
  uint64_t address = read<uint64_t>(o, lane);
  if (space == Space::shared || space == Space::local)
    address &= 0xffffffff;  // 32-bit registers hold such addresses too
  return memory(space, address + static_cast<uint64_t>(o.offset), bytes, access, lane);
}

std::byte* Warp::memory(Space space, uint64_t address, size_t bytes, Access access, int lane) {
  if (space == Space::generic && address >= kSharedWindow) {
    constexpr Space spaces[] = {Space::shared, Space::local, Space::param};
    space = spaces[std::min<uint64_t>(address / kSharedWindow, 3) - 1];
    address %= kSharedWindow;
  }
  const size_t i = static_cast<size_t>(lane);
  if (space == Space::param || space == Space::local) {
    const bool launched = space == Space::param && address >= kLaunchParameters;
    if (launched) address -= kLaunchParameters;
    const size_t size = launched                ? block_.launch.parameters.size()
                        : space == Space::local ? block_.module.local_bytes
                                                : block_.module.parameter_bytes;
    if (address + bytes > size) {
      report("access outside a thread's own memory", lane);
      return nullptr;
    }
    if (launched) return const_cast<std::byte*>(block_.launch.parameters.data()) + address;
    return (space == Space::local ? local_ : parameters_).data() + i * size + address;
  }
  return block_.checker.touch(space, address, bytes, access, actor(lane), place());
}

void Warp::copy_later(uint64_t shared, uint64_t global, size_t bytes, size_t taken, int lane) {
  Copy copy{shared, global, bytes, std::min(taken, bytes), {}, copies_[lane].open};
  if (taken > bytes) report("cp.async: more bytes are read than copied", lane);
  if (global % bytes) report("misaligned access", lane);
  for (size_t i = 0; i < copy.taken; ++i)
    if (const std::byte* from = memory(Space::global, global + i, 1, Access::read, lane)) copy.seen[i] = *from;
  if (!memory(Space::shared, shared, bytes, Access::write, lane)) return;
  block_.checker.set_in_flight(shared, bytes, true);
  copies_[lane].waiting.push_back(copy);
}

void Warp::await_copies(int newer, int lane) {
  Copies& copies = copies_[lane];
  const auto arrives = [&](const Copy& c) { return newer < 0 || c.group + newer < copies.open; };
  for (const Copy& c : copies.waiting) {
    if (!arrives(c)) continue;
    block_.checker.set_in_flight(c.shared, c.bytes, false);
    std::array<std::byte, 16> now{};
    for (size_t i = 0; i < c.taken; ++i)
      if (const std::byte* from = memory(Space::global, c.global + i, 1, Access::read, lane)) now[i] = *from;
    if (now != c.seen) report("cp.async: the source changes before it has arrived", lane);
    if (std::byte* to = memory(Space::shared, c.shared, c.bytes, Access::write, lane))
      std::copy_n(now.data(), c.bytes, to);
  }
  std::erase_if(copies.waiting, arrives);
}

void Warp::run() {
  for (yields_ = false; !yields_;) {
    int lowest = -1;
    for (int i = 0; i < 32; ++i)
      if (state_[i] == State::running && (lowest < 0 || pc_[i] < lowest)) lowest = pc_[i];
    if (lowest < 0) return;
    uint32_t lanes = 0;
    int next = static_cast<int>(block_.module.code.size());  // where others wait
    for (int i = 0; i < 32; ++i) {
      if (state_[i] != State::running) continue;
      if (pc_[i] == lowest)
        lanes |= 1u << i;
      else
        next = std::min(next, pc_[i]);
    }
    // Straight on while nothing but these lanes' own code comes.
    int pc = lowest;
    while (pc < next && !yields_ && block_.module.code[static_cast<size_t>(pc)].flow == Instruction::Flow::next) {
      step(pc, lanes);
      ++pc;
    }
    for (int i = 0; i < 32; ++i)
      if (lanes >> i & 1) pc_[i] = pc;
    if (pc < next && !yields_) step(pc, lanes);
  }
}

// Flow::next leaves the places of the lanes to run().
void Warp::step(int pc, uint32_t lanes) {
  const Instruction& in = block_.module.code[static_cast<size_t>(pc)];
  current_ = pc;
  uint32_t active = lanes;
  if (in.guard >= 0)
    for (int i = 0; i < 32; ++i)
      if ((registers_[index(in.guard, i)] & 1) == in.guard_negated) active &= ~(1u << i);
  const auto advance = [&](uint32_t which) {
    for (int i = 0; i < 32; ++i)
      if (which >> i & 1) ++pc_[i];
  };
  switch (in.flow) {
    case Instruction::Flow::next:
      if (active) in.step(*this, active);
      return;
    case Instruction::Flow::branch:
      for (int i = 0; i < 32; ++i)
        if (lanes >> i & 1) pc_[i] = active >> i & 1 ? in.target : pc + 1;
      return;
    case Instruction::Flow::call:
      advance(lanes);
      call(in, active, pc);
      return;
    case Instruction::Flow::leave:
      advance(lanes);
      leave(active);
      return;
    case Instruction::Flow::block_barrier:
      for (int i = 0; i < 32; ++i)
        if (active >> i & 1) state_[i] = State::at_block_barrier;
      advance(lanes & ~active);
      return;
    case Instruction::Flow::warp_wide: {
      if (active) {
        const int first = std::countr_zero(active);
        const uint32_t members =
            in.member_mask < 0 ? all_ : read<uint32_t>(in.operands[static_cast<size_t>(in.member_mask)], first) & all_;
        if (active != members) report("warp: lanes of the mask are elsewhere, or were not named", first);
        if (in.mnemonic == "bar.warp.sync" && members == all_) ++barriers_;
        stays_ = false;
        in.step(*this, active & members);
        if (stays_) return;
      }
      advance(lanes);
      return;
    }
  }
}

void Warp::call(const Instruction& in, uint32_t lanes, int pc) {
  const size_t stride = block_.module.parameter_bytes;
  for (int i = 0; i < 32; ++i) {
    if (!(lanes >> i & 1)) continue;
    std::byte* mine = parameters_.data() + static_cast<size_t>(i) * stride;
    for (size_t a = in.results; a < in.arguments.size(); ++a)
      std::copy_n(mine + in.arguments[a].first, in.argument_bytes[a], mine + in.arguments[a].second);
    calls_[i].push_back(pc);
    pc_[i] = in.target;
  }
}

// Out of a called function, or out of the kernel.
void Warp::leave(uint32_t lanes) {
  const size_t stride = block_.module.parameter_bytes;
  for (int i = 0; i < 32; ++i) {
    if (!(lanes >> i & 1)) continue;
    if (calls_[i].empty()) {
      state_[i] = State::done;
      ++block_.progress;
      continue;
    }
    const Instruction& from = block_.module.code[static_cast<size_t>(calls_[i].back())];
    std::byte* mine = parameters_.data() + static_cast<size_t>(i) * stride;
    for (size_t a = 0; a < from.results; ++a)
      std::copy_n(mine + from.arguments[a].second, from.argument_bytes[a], mine + from.arguments[a].first);
    pc_[i] = calls_[i].back() + 1;
    calls_[i].pop_back();
  }
}

void execute(const Module& module, const Function& entry, const Launch& launch, Checker& checker) {
  if (launch.parameters.size() < static_cast<size_t>(entry.launch_bytes)) throw Error("PTX: too few kernel parameters");
  checker.begin_launch(module, entry);
  Block block(module, entry, launch, checker);
  for (uint32_t z = 0; z < launch.grid.z; ++z)
    for (uint32_t y = 0; y < launch.grid.y; ++y)
      for (uint32_t x = 0; x < launch.grid.x; ++x) block.run({x, y, z});
}

}  // namespace firn::ptx
