#include "tests/ptx/executor.h"

#include <algorithm>

#include "kernels/error.h"

namespace firn::ptx {

namespace {

void merge(Knowledge& to, const Knowledge& from) {
  to.resize(std::max(to.size(), from.size()));
  for (size_t i = 0; i < from.size(); ++i) to[i] = std::max(to[i], from[i]);
}

}  // namespace

class Block {
 public:
  Block(const Module& module, const Function& entry, const Launch& launch, Checker& checker)
      : module(module), launch(launch), checker(checker), entry(entry), bulk(checker) {
    const uint64_t threads = launch.block.count();
    for (uint64_t first = 0; first < threads; first += 32)
      warps_.emplace_back(*this, static_cast<uint32_t>(first),
                          static_cast<uint32_t>(std::min<uint64_t>(32, threads - first)));
  }

  void run(Dim3 at) {
    index = at;
    barriers = 0;
    checker.begin_block(dynamic_shared() + launch.dynamic_shared);
    bulk.begin(warps_.size());
    warpgroups.assign((warps_.size() + 3) / 4, {});
    free_registers = 0;
    for (Warp& w : warps_) w.begin(entry.first);
    uint64_t before;
    do {
      before = progress + bulk.progress();
      for (Warp& w : warps_) w.run();
      pass_barriers();
    } while (progress + bulk.progress() != before);
    for (Warp& w : warps_) w.end();
    bulk.end();
  }

  // Where the launch's own shared memory begins.
  uint64_t dynamic_shared() const {
    const uint64_t to = module.dynamic_alignment;
    return (entry.shared_bytes + to - 1) / to * to;
  }

  const Module& module;
  const Launch& launch;
  Checker& checker;
  const Function& entry;
  Dim3 index;
  uint32_t barriers = 0;
  uint64_t progress = 0;  // counts what may end somebody's waiting
  Bulk bulk;

  // What the four have done together: instructions and their operands, and how far each has come.
  struct Warpgroup {
    std::vector<std::pair<int, uint64_t>> steps;
    std::array<size_t, 4> come = {};
  };
  std::vector<Warpgroup> warpgroups;
  bool is_whole(size_t warpgroup) const { return warps_.size() >= 4 * warpgroup + 4; }
  uint64_t free_registers = 0;  // that no warp holds, of those that the block was given

 private:
  void pass_barriers() {
    bool all = true;
    for (const Warp& w : warps_)
      for (int lane = 0; lane < 32; ++lane) all &= w.state_[lane] == Warp::State::done || waits_at(w, lane, 0);
    if (all) pass_all();
    for (uint64_t id = 1; id < 16; ++id) pass_some(id);
  }

  const Instruction& instruction_of(const Warp& w, int lane) const {
    return module.code[static_cast<size_t>(w.pc_[lane])];
  }
  bool waits_at(const Warp& w, int lane, uint64_t id) const {
    return w.state_[lane] == Warp::State::at_block_barrier && instruction_of(w, lane).operands[0].value == id;
  }
  void go_on(Warp& w, int lane) {
    w.state_[lane] = Warp::State::running;
    ++w.pc_[lane];
    ++progress;
  }

  // A barrier of some threads, whose number they give: what each of their warps knows, all know then.
  void pass_some(uint64_t id) {
    std::vector<Warp*> warps;
    uint64_t here = 0, wanted = 0;
    for (Warp& w : warps_)
      for (int lane = 0; lane < 32; ++lane) {
        if (!waits_at(w, lane, id)) continue;
        if (warps.empty() || warps.back() != &w) warps.push_back(&w);
        wanted = w.read<uint32_t>(instruction_of(w, lane).operands[1], lane);
        ++here;
      }
    if (here == 0 || here < wanted) return;
    if (here > wanted) warps.front()->report("barrier: more threads come than it is for", 0);
    Knowledge shared;
    for (Warp* w : warps) {
      ++w->barriers_;
      w->release(shared);
    }
    for (Warp* w : warps) {
      w->acquire(shared);
      for (int lane = 0; lane < 32; ++lane)
        if (waits_at(*w, lane, id)) go_on(*w, lane);
    }
  }

  // Lets everybody on when all wait.
  void pass_all() {
    int at = -1;
    bool left = false, apart = false;
    Warp* waiting = nullptr;
    for (Warp& w : warps_)
      for (int lane = 0; lane < 32; ++lane) {
        if (!(w.all_ >> lane & 1)) continue;
        left |= w.state_[lane] == Warp::State::done;
        if (w.state_[lane] != Warp::State::at_block_barrier) continue;
        apart |= at >= 0 && at != w.pc_[lane];
        at = w.pc_[lane];
        waiting = &w;
      }
    if (!waiting) return;
    waiting->current_ = at;
    const int lane = std::countr_zero(waiting->all_);
    if (left) waiting->report("barrier: threads that have left never come", lane);
    if (apart) waiting->report("barrier: the threads of a block wait at different ones", lane);
    ++barriers;
    for (Warp& w : warps_)
      for (int i = 0; i < 32; ++i)
        if (w.state_[i] == Warp::State::at_block_barrier) go_on(w, i);
  }

  std::vector<Warp> warps_;
};

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
