// Memory for tensors. The host side keeps freed blocks by size class, so that a step that allocates what the last one
// freed touches no new page.
#pragma once
#include <cstddef>
#include <string>

#include "kernels/core/run.h"

namespace firn::kernels {

// 64-byte aligned, not cleared; null for no bytes. DeviceError when there is none.
void* allocate(const Stream&, size_t bytes);
void release(const Stream&, void*, size_t bytes);

void trim(const Stream&);  // gives what is free back to the GPU's driver, for one large block; waits

// Memory for the length of one call, in the order of the stream.
class Scratch {
 public:
  Scratch(const Stream& stream, size_t bytes) : stream_(stream), bytes_(bytes), data_(allocate(stream, bytes)) {}
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

int cuda_device_count();               // 0 without CUDA or without a GPU that it can use
std::string why_no_gpu();              // then: why none is used that may be there; empty where there is none
Stream cuda_stream(int device_index);  // the stream of a device; DeviceError where there is none

}  // namespace firn::kernels
