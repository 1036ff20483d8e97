#include "kernels/device/timer.h"

#ifdef FIRN_CUDA
#include "kernels/core/cuda_check.h"
#endif

namespace firn::kernels {

#ifdef FIRN_CUDA
namespace {
cudaEvent_t event(void* e) { return static_cast<cudaEvent_t>(e); }
}  // namespace
#endif

DeviceTimer::DeviceTimer(const Stream& stream) : stream_(stream) {
#ifdef FIRN_CUDA
  if (!stream_.on_gpu()) return;
  current(stream_);
  for (void*& e : events_) {
    cudaEvent_t made;
    check(cudaEventCreate(&made));
    e = made;
  }
#endif
}

DeviceTimer::~DeviceTimer() {
#ifdef FIRN_CUDA
  for (void* e : events_)
    if (e) cudaEventDestroy(event(e));  // an error here has nowhere to go
#endif
}

void DeviceTimer::start() {
#ifdef FIRN_CUDA
  if (stream_.on_gpu()) return check(cudaEventRecord(event(events_[0]), current(stream_)));
#endif
  begin_ = std::chrono::steady_clock::now();
}

void DeviceTimer::finish() {
#ifdef FIRN_CUDA
  if (stream_.on_gpu()) return check(cudaEventRecord(event(events_[1]), current(stream_)));
#endif
  end_ = std::chrono::steady_clock::now();
}

double DeviceTimer::ms() {
#ifdef FIRN_CUDA
  if (stream_.on_gpu()) {
    check(cudaEventSynchronize(event(events_[1])));
    float ms = 0;
    check(cudaEventElapsedTime(&ms, event(events_[0]), event(events_[1])));
    return ms;
  }
#endif
  return std::chrono::duration<double, std::milli>(end_ - begin_).count();
}

}  // namespace firn::kernels
