// What the providers on CUDA share: what a stream is doing, a stopwatch, a choice among kernels, the name of the GPU.
#pragma once
#include <string>

#include "kernels/memory.h"
#include "kernels/provider_choice.h"

namespace firn::kernels {

bool is_capturing(const Stream&);

// The stopwatch for this stream; empty while the stream is captured, when nothing may wait.
Timer timer(const Stream&);

// The index of the way that is fastest on the current device for what `what` names, chosen as by choose(). Some way
// must be possible.
size_t fastest(const Stream&, const std::string& what, std::span<const Candidate> ways);

int current_device();
std::string device_name(int device);  // "NVIDIA H100 80GB HBM3 sm_90"

}  // namespace firn::kernels
