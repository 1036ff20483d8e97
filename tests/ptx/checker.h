// Device memory, and who touched each byte of it last. Finds accesses outside every allocation or variable, misaligned
// ones, reads of bytes that nobody wrote, races (two accesses, one of them a write, with no barrier between them), and
// any access to what an asynchronous copy is about to write.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/ptx/module.h"

namespace firn::ptx {

enum class Access : uint8_t { read, write, atomic };

// What some warps know of each other: of warp i, that it is past as many of its barriers. Behind the warps come the
// block's barriers in shared memory, whose copies write as threads of a warp of their own do.
using Knowledge = std::vector<uint32_t>;

// A thread at a moment: how many barriers of its block and of its warp it has passed, and what it knows of other warps.
struct Actor {
  uint32_t thread = 0, block_barriers = 0, warp_barriers = 0;
  const Knowledge* knows = nullptr;
  bool asynchronous = false;  // the copy engine or the tensor cores, for it
};

class Checker {
 public:
  Checker();
  ~Checker();
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;

  // Addresses are never used again, so a stale one stays recognisable. Bytes start as NaN and unwritten.
  void* allocate(size_t bytes);
  void release(void* block);
  // What the host copies in or out; throws Error when [p, p + bytes) is not within one allocation.
  void host_access(const void* p, size_t bytes, Access access);
  // Memory of a module's variables: written from the start.
  void adopt(std::vector<std::byte>& variable);

  void begin_launch(const Module& module, const Function& kernel);
  void begin_block(uint64_t shared_bytes);
  // Bytes of shared memory that an asynchronous copy writes at some time from now on, or has written.
  void set_in_flight(uint64_t address, size_t bytes, bool in_flight);
  // Bytes of shared memory that one more, or one fewer, asynchronous product reads.
  void lend(uint64_t address, size_t bytes, int more);

  // What a thread wrote before, asynchronous instructions may read from now on.
  void fence_proxy(uint32_t thread) { ++proxy_fences_[thread]; }

  // The bytes at an address, after reporting what is wrong with touching them; null where there are none.
  std::byte* touch(Space space, uint64_t address, size_t bytes, Access access, const Actor& actor, int place);
  void report(const std::string& what, const Actor& actor, int place);
  std::vector<std::string> take_findings();

 private:
  struct Touch {
    uint32_t block = 0;  // counts all blocks of all launches; 0: nobody
    uint32_t block_barriers = 0, warp_barriers = 0;
    uint16_t thread = 0;
    bool atomic = false, asynchronous = false;
    uint8_t proxy_fences = 0;  // of the thread until then
    int place = 0;
  };
  struct Cell {
    Touch write, read[2];
    bool written = false, in_flight = false;
    uint8_t lent = 0;
  };
  struct Region {
    std::byte* bytes = nullptr;
    std::vector<Cell> cells;
  };

  Region* region_at(uint64_t address);
  bool ordered(const Touch& before, const Touch& now, const Actor& actor) const;
  void check_cell(Cell& cell, const Touch& now, Access access, const Actor& actor, int place);

  std::byte *reserved_, *next_;
  std::map<uint64_t, Region> regions_;
  Region* latest_ = nullptr;
  Region shared_;
  std::vector<std::byte> shared_bytes_;
  const Module* module_ = nullptr;
  const Function* kernel_ = nullptr;
  uint32_t block_ = 0, first_block_ = 1;
  std::vector<uint8_t> proxy_fences_;
  std::set<std::string> seen_;
  std::vector<std::string> findings_;
};

}  // namespace firn::ptx
