// Planning ahead. What runs on a dry stream is noted instead: which convolutions a run will ask of cuDNN. Their plans
// are then made on all threads, for a GPU that is there or is only described, and stored (kernels/choice/plan_store.h).
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "kernels/choice/provider_numerics.h"
#include "kernels/core/run.h"

namespace firn::kernels {

inline Stream dry_stream() { return with({.is_cuda = true, .dry = true}, initial_numerics()); }

struct PlanCount {
  int64_t operations = 0;  // that were noted
  int64_t missing = 0;     // of these, without stored plans before
  int64_t done = 0;        // of the missing ones
  int64_t unplanned = 0;   // of those done, for which there is no plan
  double restoring_s = 0;  // to restore one plan of each operation, as a later start does
};

// Plans what was noted since the last call and has no stored plans. `progress` is called after each operation, by one
// thread at a time. DeviceError without CUDA, or when the description is none.
PlanCount plan_noted(const Stream& gpu, int threads, const std::function<void(const PlanCount&)>& progress = {});
// For a GPU that `description` describes, JSON as describe_gpu gives it. No GPU and no driver are needed. Of each
// operation's plans the longest is restored, to see that it can be.
PlanCount plan_noted(const std::string& description, int threads,
                     const std::function<void(const PlanCount&)>& progress = {});

std::string describe_gpu(const Stream& gpu);

}  // namespace firn::kernels
