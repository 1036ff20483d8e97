// Processes whose GPUs exchange data by NCCL, on a stream of its own beside the one that computes, which waits where
// somebody waits for the exchange; both may be recorded in a graph. The host never waits. Trade-off: a failure shows
// with a later call.
#pragma once
#include <memory>

#include "engine/communicator.h"

namespace firn {

// The same processes, as `processes` started them, which carries all but what is on a GPU. NCCL starts with the first
// exchange that is, in all of them: not while a graph is recorded. Each process has one GPU.
std::unique_ptr<Communicator> with_nccl(std::unique_ptr<Communicator> processes);

}  // namespace firn
