// Memory for tensors. The host side keeps freed blocks by size class, so that a step that allocates what the last one
// freed touches no new page.
#pragma once
#include <cstddef>

#include "kernels/run.h"

namespace firn::kernels {

void* allocate(const Stream&, size_t bytes);  // 64-byte aligned, not cleared; DeviceError when there is none
void release(const Stream&, void*, size_t bytes);

void trim(const Stream&);  // gives what is free back to the GPU's driver, for one large block; waits

// Memory for the length of one call, in the order of the stream; null for no bytes.
class Scratch {
 public:
  Scratch(const Stream& stream, size_t bytes)
      : stream_(stream), bytes_(bytes), data_(bytes ? allocate(stream, bytes) : nullptr) {}
  ~Scratch() { release(stream_, data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* data() const { return data_; }

 private:
  Stream stream_;
  size_t bytes_;
  void* data_;
};

struct MemoryUse {
  size_t live = 0, peak = 0;  // bytes in tensors now, and at most since reset_peak()
};
MemoryUse memory_use();
void reset_peak();

size_t available_memory(const Stream&);  // bytes that the device, or the machine, could still give

void copy_to_host(const Stream&, void* host, const void* device, size_t bytes);
void copy_from_host(const Stream&, void* device, const void* host, size_t bytes);

int cuda_device_count();               // 0 without CUDA or without a GPU
Stream cuda_stream(int device_index);  // the stream of a device; DeviceError where there is none

}  // namespace firn::kernels
