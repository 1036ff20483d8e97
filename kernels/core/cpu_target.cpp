#include "kernels/core/cpu_target.h"

#include <array>
#include <cstdlib>

#include "base/error.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

bool detect_amx() {
#ifdef __x86_64__
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const unsigned needed = 1u << 22 | 1u << 24;  // AMX-BF16, AMX-TILE
  if ((d & needed) != needed) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
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

bool has_amx() {
  static const bool result = detect_amx();
  return result;
}

CpuTargetScope::CpuTargetScope(CpuTarget t) : before_(current()) { current() = t; }
CpuTargetScope::~CpuTargetScope() { current() = before_; }

}  // namespace firn::kernels
