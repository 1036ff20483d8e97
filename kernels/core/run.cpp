#include "kernels/core/run.h"

#include "base/error.h"

namespace firn {

namespace {
LaunchCounter* current = nullptr;  // launches come from the one thread that drives the engine
Flops noted;
}  // namespace

LaunchCounter::LaunchCounter() : outer_(current) { current = this; }
LaunchCounter::~LaunchCounter() { current = outer_; }

int64_t LaunchCounter::operator[](const std::string& name) const {
  auto it = counts_.find(name);
  return it == counts_.end() ? 0 : it->second;
}

void note_launch(const char* name) {
  if (current) ++current->counts_[name];
}

void note_flops(double direct, double done) {
  noted.direct += direct;
  noted.done += done;
}

Flops flops_so_far() { return noted; }

void throw_without_cuda(const char* kernel) {
  throw DeviceError(fmt::format("{}: this build has no CUDA; use --device cpu", kernel));
}

void throw_on_cpu(const char* kernel) { throw DeviceError(fmt::format("{}: runs on a GPU only", kernel)); }
void throw_on_cuda(const char* kernel) { throw DeviceError(fmt::format("{}: runs on the CPU only", kernel)); }

}  // namespace firn
