// Without CUDA there is nothing to plan for.
#include "kernels/conv/planning.h"
#ifndef FIRN_CUDA
#include "base/error.h"

namespace firn::kernels {

namespace {
[[noreturn]] void fail() { throw DeviceError("to plan for a GPU takes a build with CUDA: -DFIRN_CUDA=ON"); }
}  // namespace

PlanCount plan_noted(const Stream&, int, const std::function<void(const PlanCount&)>&) { fail(); }
PlanCount plan_noted(const std::string&, int, const std::function<void(const PlanCount&)>&) { fail(); }
std::string describe_gpu(const Stream&) { fail(); }

}  // namespace firn::kernels

#endif
