// A CUDA graph: launches and copies of one stream, recorded once, replayed by one call. Nothing is allocated, waited
// for or read on the host while one is recorded; what is tried is a DeviceError.
#pragma once
#include "base/error.h"
#include "kernels/core/run.h"

namespace firn::kernels {

// CUDA makes no graph of what was recorded. What the body does can still be done without one.
struct GraphError : DeviceError {
  using DeviceError::DeviceError;
};

class Graph {
 public:
  // Records what `body` puts on the stream, without running it. DeviceError without CUDA, or when body does what cannot
  // be recorded; GraphError when it goes on after that, or CUDA has no room.
  template <class Body>
  Graph(const Stream& stream, Body&& body) : stream_(stream) {
    begin();
    try {
      body();
    } catch (...) {
      abandon();
      throw;
    }
    end();
  }
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch() const;

 private:
  void begin();
  void end();
  void abandon();
  Stream stream_;
  void* executable_ = nullptr;  // cudaGraphExec_t
};

}  // namespace firn::kernels
