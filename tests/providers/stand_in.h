// Stands in for cuDNN's backend and for cuBLASLt's heuristics and products: graphs and products are carried out in
// double on the host's memory, by their descriptors' own words.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include "kernels/core/types.h"
#include "tests/ptx/runtime_state.h"

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
  std::vector<int64_t> planned, executed;              // engines
  int asked = 0, restored = 0;                         // for proposals; plans from text
  std::vector<std::vector<int64_t>> weight_gradients;  // that were computed, in cuDNN's order of dimensions
  std::vector<int> products;                           // which of cuBLASLt's two proposals ran
  bool restores = true;                                // whether plans come back from text
  bool fused = true;                                   // whether graphs of more than one operation have engines
  std::vector<size_t> allocated;                       // bytes
  int gpus = 1, device = 0;                            // how many there are, all alike; which is current
  cudaError_t lost = cudaSuccess;                      // what every call returns once the GPU is lost
  // Of a second stream of the GPU: what is on it is done as late as it may be, where the first one waits for it.
  std::vector<ptx::Work> beside;
  bool behind = false;   // it waits for all that is on the first one
  int joins = 0;         // waits of the first one that had something to wait for
  int64_t faulty = -1;   // the engine that loses it,
  bool says_so = false;  // with an error of its own
};
StandIn& stand_in();
int device_of(cudaStream_t);
bool is_second(cudaStream_t);

// Device memory as what is queued finds it; the interpreter's checker sees it.
template <class T>
std::vector<double> from_device(const void* from, size_t count) {
  ptx::runtime().checker.host_access(from, count * sizeof(T), ptx::Access::read);
  const T* const values = static_cast<const T*>(from);
  return {values, values + count};
}
template <class T>
void to_device(void* to, const std::vector<double>& from) {
  ptx::runtime().checker.host_access(to, from.size() * sizeof(T), ptx::Access::write);
  for (size_t i = 0; i < from.size(); ++i) static_cast<T*>(to)[i] = T(static_cast<float>(from[i]));
}

}  // namespace firn::providers
