#include "kernels/device/staging.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/device/memory.h"
#ifdef FIRN_CUDA
#include "kernels/core/cuda_check.h"
#endif

namespace firn::kernels {

Staging::Staging(const Stream& stream, size_t bytes)
    : stream_(stream), bytes_(bytes), device_(allocate(stream, bytes)) {
#ifdef FIRN_CUDA
  if (!stream_.on_gpu()) return;
  current(stream_);
  for (Slot& slot : slots_) {
    check(cudaMallocHost(&slot.host, std::max<size_t>(bytes, 1)));
    cudaEvent_t event;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    slot.copied = event;
  }
#endif
}

Staging::~Staging() {
#ifdef FIRN_CUDA
  for (const Slot& slot : slots_) {
    if (slot.copied) {
      cudaEventSynchronize(static_cast<cudaEvent_t>(slot.copied));  // the copy still reads the buffer
      cudaEventDestroy(static_cast<cudaEvent_t>(slot.copied));
    }
    if (slot.host) cudaFreeHost(slot.host);
  }
#endif
  release(stream_, device_, bytes_);
}

const void* Staging::put(std::span<const std::byte> from) {
  if (from.size() > bytes_) throw ShapeError(fmt::format("staging: {} bytes into {}", from.size(), bytes_));
  if (from.empty()) return device_;
#ifdef FIRN_CUDA
  if (stream_.on_gpu()) {
    const Slot& slot = slots_[next_++ % kSlots];
    const auto event = static_cast<cudaEvent_t>(slot.copied);
    const auto stream = current(stream_);
    check(cudaEventSynchronize(event));
    std::memcpy(slot.host, from.data(), from.size());
    check(cudaMemcpyAsync(device_, slot.host, from.size(), cudaMemcpyHostToDevice, stream));
    check(cudaEventRecord(event, stream));
    return device_;
  }
#endif
  std::memcpy(device_, from.data(), from.size());
  return device_;
}

}  // namespace firn::kernels
