// Without CUDA there is nothing to plan for.
#include "kernels/planning.h"
#ifndef FIRN_CUDA

namespace firn::kernels {

PlanCount plan_noted(const Stream&, int, const std::function<void(const PlanCount&)>&) {
  throw_without_cuda("planning");
}
PlanCount plan_noted(const std::string&, int, const std::function<void(const PlanCount&)>&) {
  throw_without_cuda("planning");
}
std::string describe_gpu(const Stream&) { throw_without_cuda("describing a GPU"); }

}  // namespace firn::kernels

#endif
