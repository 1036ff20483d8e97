// Memory for a sequence of allocations that repeats: sizes and lifetimes are noted in one run, places in one block are
// planned from them, and later runs get those places. Trade-off: every run must ask for the same in the same order.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "kernels/core/run.h"

namespace firn::kernels {

// An allocation of a run: it lives from its own number up to (not including) allocation number `end`.
struct Lifetime {
  size_t bytes;
  int64_t end;
};

struct ArenaPlan {
  std::vector<size_t> bytes, offsets;  // of each allocation, in order; offsets are multiples of 256
  size_t size = 0;                     // of the block
};

// Largest first, each at the lowest place where no other that lives at the same time is.
ArenaPlan plan_arena(std::span<const Lifetime> lifetimes);

// One block of device memory.
class ArenaBlock {
 public:
  ArenaBlock(const Stream& stream, size_t size);
  ~ArenaBlock();
  ArenaBlock(const ArenaBlock&) = delete;
  ArenaBlock& operator=(const ArenaBlock&) = delete;
  bool contains(const void* p) const { return p >= data_ && p < static_cast<const std::byte*>(data_) + size_; }
  void* at(size_t offset) const { return static_cast<std::byte*>(data_) + offset; }
  const Stream& stream() const { return stream_; }
  size_t size() const { return size_; }

 private:
  Stream stream_;
  void* data_;
  size_t size_;
};

// While it lives, allocate() and release() on `stream` go on as ever and are noted.
class ArenaRecording {
 public:
  explicit ArenaRecording(const Stream& stream);
  ~ArenaRecording();
  ArenaRecording(const ArenaRecording&) = delete;
  ArenaRecording& operator=(const ArenaRecording&) = delete;
  ArenaPlan plan() const;  // DeviceError when something that was allocated meanwhile still lives

 private:
  friend void* allocate(const Stream&, size_t);
  friend void release(const Stream&, void*, size_t);
  Stream stream_;
  std::vector<Lifetime> lifetimes_;
  std::unordered_map<void*, size_t> live_;  // which of lifetimes_
};

// While it lives, allocate() on the block's stream gives the places of `plan`, and DeviceError when it is asked for
// something else than was planned. Older memory that is released stays until the end.
class ArenaPlayback {
 public:
  ArenaPlayback(const ArenaPlan& plan, const ArenaBlock& block);
  ~ArenaPlayback();
  ArenaPlayback(const ArenaPlayback&) = delete;
  ArenaPlayback& operator=(const ArenaPlayback&) = delete;
  void require_all_released() const;  // DeviceError when a place is still in use

 private:
  friend void* allocate(const Stream&, size_t);
  friend void release(const Stream&, void*, size_t);
  struct Late {
    void* data;
    size_t bytes;
  };
  const ArenaPlan& plan_;
  const ArenaBlock& block_;
  size_t next_ = 0, live_ = 0;
  std::vector<Late> late_;
};

}  // namespace firn::kernels
