// Runs a kernel block by block, its warps in lockstep: of the lanes that are behind, those at the lowest instruction go
// on together, which brings diverged lanes back to each other at the end of a loop or branch.
#pragma once
#include <array>
#include <bit>
#include <cstring>
#include <deque>

#include "tests/ptx/bulk.h"
#include "tests/ptx/checker.h"
#include "tests/ptx/module.h"

namespace firn::ptx {

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t{x} * y * z; }
};

struct Launch {
  Dim3 grid, block;
  uint64_t dynamic_shared = 0;
  std::vector<std::byte> parameters;
};

class Block;

// One warp's registers and places. What an instruction's step sees.
class Warp {
 public:
  Warp(Block& block, uint32_t first_thread, uint32_t lanes);

  // The low bytes of a register, immediate or special register, as a T.
  template <class T>
  T read(const Operand& o, int lane) const {
    if (watches_ && o.kind == Operand::Kind::reg && uses_[static_cast<size_t>(o.reg)] & kSum)
      report("wgmma: a sum is read before wait_group", lane);
    const uint64_t word = o.kind == Operand::Kind::reg         ? registers_[index(o.reg, lane)]
                          : o.kind == Operand::Kind::immediate ? o.value
                                                               : special(o.reg, lane);
    T value;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }
  // Signed values extend over the register, as ld.s8 into a wider one does.
  template <class T>
  void write(const Operand& o, int lane, T value) {
    if (o.kind == Operand::Kind::none) return;
    if (watches_) {
      uint8_t& use = uses_[static_cast<size_t>(o.reg)];
      if (use & (kSum | kLeft)) report("wgmma: a register is written before wait_group", lane);
      use |= kWritten;
    }
    uint64_t word = 0;
    if constexpr (std::is_signed_v<T> && std::is_integral_v<T>)
      word = static_cast<uint64_t>(static_cast<int64_t>(value));
    else
      std::memcpy(&word, &value, sizeof value);
    registers_[index(o.reg, lane)] = word;
  }

  // Where an access goes, checked and counted; null when there is no such memory.
  std::byte* memory(Space space, const Operand& address, size_t bytes, Access access, int lane);
  std::byte* memory(Space space, uint64_t address, size_t bytes, Access access, int lane);
  void report(const std::string& what, int lane) const;
  uint32_t all_lanes() const { return all_; }

  // A lane's asynchronous copies arrive as late as the program allows: when the lane waits for their group. Of `bytes`,
  // `taken` come from global memory and the rest are zeros.
  void copy_later(uint64_t shared, uint64_t global, size_t bytes, size_t taken, int lane);
  void commit_copies(int lane) { ++copies_[lane].open; }
  // All groups but the `newer` latest arrive; negative: the one that is still open as well.
  void await_copies(int newer, int lane);

  // Barriers in shared memory: what was done before the last barrier of this warp is known to whoever acquires.
  Bulk& bulk();
  Actor actor(int lane) const;
  int place() const;
  void fence_proxy(int lane);  // what the thread has written, asynchronous instructions may read from now on
  void release(Knowledge& to) const;
  void acquire(const Knowledge& from);
  void yield() { yields_ = true; }  // before this warp looks again, others run

  // For what the four warps of a warpgroup do together (".aligned"): false while one of them has not come to the same
  // instruction with the same `with`. The step is then done again.
  bool meet(uint64_t with);
  // setmaxnreg: how many registers each thread has from now on; what a warp gives up, others of its block may take.
  void set_registers(uint64_t count, bool more);

  // Asynchronous products read and write registers and shared memory from their start to the wait for their group.
  // Results are computed at the start; nobody may touch what would tell the difference.
  struct Product {
    std::vector<int> sums, left;
    std::vector<std::pair<uint64_t, size_t>> right;  // address, bytes
  };
  template <class F>
  void start_product(Product product, F compute) {
    begin_product(product);
    watches_ = false;
    in_product_ = true;
    compute();
    watches_ = true;
    in_product_ = false;
    groups_.back().push_back(std::move(product));
  }
  void fence_products();
  void commit_products() { groups_.emplace_back(); }
  void await_products(size_t newer);

 private:
  friend class Block;
  enum class State : uint8_t { running, at_block_barrier, done };
  struct Copy {
    uint64_t shared, global;
    size_t bytes, taken;
    std::array<std::byte, 16> seen;  // the source when the copy was started
    int64_t group;
  };
  struct Copies {
    std::vector<Copy> waiting;
    int64_t open = 0;  // the group that the next copy belongs to
  };

  size_t index(int reg, int lane) const { return static_cast<size_t>(reg) * 32 + static_cast<size_t>(lane); }
  uint64_t special(int reg, int lane) const;
  void begin_product(const Product&);

  void begin(int pc);
  void end();
  void run();  // until every lane is done or waits for the block
  void step(int pc, uint32_t lanes);
  void call(const Instruction& in, uint32_t lanes, int pc);
  void leave(uint32_t lanes);
  void stay() { stays_ = yields_ = true; }

  Block& block_;
  uint32_t first_thread_, all_;
  std::vector<uint64_t> registers_;
  std::vector<std::byte> local_, parameters_;  // [lane][bytes]
  std::vector<int> calls_[32];                 // where to go back to
  int pc_[32] = {};
  State state_[32];
  Copies copies_[32];
  enum Use : uint8_t { kWritten = 1, kSum = 2, kLeft = 4 };  // kWritten: since the last fence
  std::vector<uint8_t> uses_;                                // of each register
  bool watches_ = false, in_product_ = false;                // watches_: what others do with them
  std::deque<std::vector<Product>> groups_;                  // the last is open
  Knowledge knows_;
  bool yields_ = false, stays_ = false;  // stays_: at this instruction
  bool meets_ = false, asks_ = false;    // waits for its warpgroup, for registers
  uint64_t held_ = 0;                    // registers of each thread
  uint32_t barriers_ = 0;
  int current_ = 0;
};

// A generic address says by its range which space it is in.
inline constexpr uint64_t kSharedWindow = uint64_t{1} << 60, kLocalWindow = uint64_t{2} << 60,
                          kParameterWindow = uint64_t{3} << 60;

void execute(const Module& module, const Function& entry, const Launch& launch, Checker& checker);

}  // namespace firn::ptx
