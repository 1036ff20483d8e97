// What the library providers on CUDA share: what a stream is doing, a stopwatch, the name of the GPU.
#pragma once
#include <string>

#include "kernels/memory.h"
#include "kernels/provider_choice.h"

namespace firn::kernels {

bool is_capturing(const Stream&);

// The stopwatch for this stream; empty while the stream is captured, when nothing may wait.
Timer timer(const Stream&);

int current_device();
std::string device_name(int device);  // "NVIDIA H100 80GB HBM3 sm_90"

}  // namespace firn::kernels
