// Stands in for cuDNN's backend and for cuBLASLt's heuristics and products: graphs and products are carried out in
// double on the host's memory, by their descriptors' own words.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include "kernels/cuda_check.h"
#include "kernels/types.h"

namespace firn::providers {

// The engines that the stand-in for cuDNN proposes, in this order. Each breaks one of the provider's rules but the last
// two.
enum Engine : int64_t {
  changes_results = 10,
  too_much_workspace = 11,
  fails_to_plan = 12,
  tensor_cores = 13,
  exact = 14
};

struct StandIn {
  std::vector<int64_t> planned, executed;  // engines
  int asked = 0, restored = 0;             // for proposals; plans from text
  std::vector<int> products;               // which of cuBLASLt's two proposals ran
  bool restores = true;                    // whether plans come back from text
  bool fused = true;                       // whether graphs of more than one operation have engines
  std::vector<size_t> allocated;           // bytes
  int device = 0;                          // which is current
  cudaError_t lost = cudaSuccess;          // what every call returns once the GPU is lost
  int64_t faulty = -1;                     // the engine that loses it,
  bool says_so = false;                    // with an error of its own
};
StandIn& stand_in();

// Device memory through copies, which the interpreter's checker sees. What is captured computes once, from what is
// there at that time, and a replay copies the result: enough to go on.
inline bool is_capturing() {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(nullptr, &status));
  return status != cudaStreamCaptureStatusNone;
}
template <class T>
std::vector<double> from_device(const void* from, size_t count) {
  std::vector<T> values(count);
  if (is_capturing())
    std::memcpy(values.data(), from, count * sizeof(T));
  else
    check(cudaMemcpyAsync(values.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost, nullptr));
  return {values.begin(), values.end()};
}
template <class T>
void to_device(void* to, const std::vector<double>& from) {
  static std::deque<std::vector<T>> captured;
  std::vector<T> now;
  std::vector<T>& values = is_capturing() ? captured.emplace_back() : now;
  for (const double v : from) values.push_back(T(static_cast<float>(v)));
  check(cudaMemcpyAsync(to, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice, nullptr));
}

}  // namespace firn::providers
