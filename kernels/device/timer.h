// How long work on a stream takes: events of the GPU there, the clock on the wall on the CPU.
#pragma once
#include <chrono>

#include "kernels/core/run.h"

namespace firn::kernels {

class DeviceTimer {
 public:
  explicit DeviceTimer(const Stream&);
  ~DeviceTimer();
  DeviceTimer(const DeviceTimer&) = delete;
  DeviceTimer& operator=(const DeviceTimer&) = delete;

  void start();   // what the stream is given from here on,
  void finish();  // up to here
  double ms();    // took that long; waits for it
  double stop() {
    finish();
    return ms();
  }

 private:
  Stream stream_;
  std::chrono::steady_clock::time_point begin_, end_;
  void* events_[2] = {};  // cudaEvent_t
};

}  // namespace firn::kernels
