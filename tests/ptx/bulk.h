// Barriers in shared memory that count arrivals and bytes, and the tiles that the copy engine brings by tensor map (PTX
// ISA, "mbarrier", "cp.async.bulk.tensor"). A copy arrives as late as the program allows: when somebody waits for the
// phase that it belongs to, and all else of that phase has come.
#pragma once
#include <array>

#include "tests/ptx/checker.h"

namespace firn::ptx {

class Warp;

// What our stand-in for the driver writes into a CUtensorMap.
struct TensorMapFields {
  static constexpr uint32_t kMagic = 0x70616d74;
  uint32_t magic = kMagic;
  uint16_t rank = 0, element_bytes = 0;
  uint64_t address = 0;
  std::array<uint32_t, 5> size = {}, box = {};
  std::array<uint64_t, 5> stride = {};  // in bytes; the innermost is that of an element
  size_t box_bytes() const;
};
static_assert(sizeof(TensorMapFields) <= 128);

class Bulk {
 public:
  explicit Bulk(Checker& checker) : checker_(checker) {}
  void begin(size_t warps);
  void end();  // of a block
  uint64_t progress() const { return progress_; }

  void init(Warp&, uint64_t address, uint32_t count, int lane);
  void make_known(uint32_t thread);  // the barriers that a thread has initialised, to copies
  void arrive(Warp&, uint64_t address, uint32_t bytes, int lane);
  bool over(Warp&, uint64_t address, uint32_t parity, int lane);  // whether the phase of this parity is
  void copy(Warp&, uint64_t to, const TensorMapFields&, const std::vector<int32_t>& first, uint64_t barrier, int lane);

 private:
  struct Copy {
    uint64_t to;
    TensorMapFields map;
    std::array<int32_t, 5> first;
    Actor actor;  // who started it, with what it knew
    Knowledge knows;
    int place;
  };
  struct Barrier {
    uint32_t count = 0, missing = 0, phase = 0, group = 0, by = 0;
    uint64_t announced = 0;
    bool known = false;
    Knowledge arrived, over;  // of this phase, of the last
    std::vector<Copy> copies;
  };

  Barrier* find(Warp&, uint64_t address, int lane);
  bool finish(Barrier&, Warp&, int lane);
  void land(const Copy&, const Barrier&);

  Checker& checker_;
  std::map<uint64_t, Barrier> barriers_;
  uint32_t groups_ = 0;
  uint64_t progress_ = 0;
};

}  // namespace firn::ptx
