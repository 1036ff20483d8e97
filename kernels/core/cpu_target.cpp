#include "kernels/core/cpu_target.h"

#include <array>
#include <cstdlib>

#include "base/error.h"

namespace firn::kernels {

namespace {

constexpr std::array kNames{"baseline", "avx2", "avx512"};

CpuTarget choose() {
  const char* const wanted = std::getenv("FIRN_CPU_TARGET");
  for (int i = int(kNames.size()) - 1; i >= 0; --i) {
    const CpuTarget target{i};
    if (wanted && *wanted ? wanted == name_of(target) && has(target) : has(target)) return target;
  }
  throw ConfigError(fmt::format("FIRN_CPU_TARGET={}: this processor runs no such code; expected {}{}{}", wanted,
                                kNames[0], has(CpuTarget::avx2) ? ", avx2" : "",
                                has(CpuTarget::avx512) ? ", avx512" : ""));
}

CpuTarget& current() {
  static CpuTarget target = choose();
  return target;
}

}  // namespace

std::string_view name_of(CpuTarget t) { return kNames[static_cast<size_t>(t)]; }

bool has([[maybe_unused]] CpuTarget t) {
#ifdef __x86_64__
  if (t == CpuTarget::avx512) return __builtin_cpu_supports("x86-64-v4");
  if (t == CpuTarget::avx2) return __builtin_cpu_supports("x86-64-v3");
#endif
  return t == CpuTarget::baseline;
}

CpuTarget cpu_target() { return current(); }

CpuTargetScope::CpuTargetScope(CpuTarget t) : before_(current()) { current() = t; }
CpuTargetScope::~CpuTargetScope() { current() = before_; }

}  // namespace firn::kernels
