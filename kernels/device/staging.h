// Bytes on their way from the host to device memory. On a GPU they pass through page-locked buffers, so that the host
// may go on, up to kSlots copies ahead of the device.
#pragma once
#include <array>
#include <span>

#include "kernels/core/run.h"

namespace firn::kernels {

class Staging {
 public:
  Staging(const Stream& stream, size_t bytes);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Copies `from`, at most the bytes of the constructor, into device memory in the order of the stream, and returns it:
  // always the same place.
  const void* put(std::span<const std::byte> from);

 private:
  static constexpr size_t kSlots = 3;
  struct Slot {
    void* host = nullptr;
    void* copied = nullptr;  // cudaEvent_t
  };
  Stream stream_;
  size_t bytes_;
  void* device_;
  std::array<Slot, kSlots> slots_;
  size_t next_ = 0;
};

}  // namespace firn::kernels
