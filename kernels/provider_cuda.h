// What the library providers on CUDA share: scratch memory, what a stream is doing, a stopwatch, the name of the GPU.
#pragma once
#include <string>

#include "kernels/memory.h"
#include "kernels/provider_choice.h"

namespace firn::kernels {

// Memory for the length of one call, in the order of the stream.
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

bool is_capturing(const Stream&);

// The stopwatch for this stream; empty while the stream is captured, when nothing may wait.
Timer timer(const Stream&);

int current_device();
std::string device_name(int device);  // "NVIDIA H100 80GB HBM3 sm_90"

}  // namespace firn::kernels
