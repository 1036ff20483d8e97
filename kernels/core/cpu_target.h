// What this processor has: which of the instruction sets that *.simd.cpp is compiled for (kernels/core/simd.h) runs
// here, and whether it multiplies tiles of bf16.
#pragma once
#include <string_view>

namespace firn::kernels {

// From least to most.
enum class CpuTarget { baseline, avx2, avx512 };

std::string_view name_of(CpuTarget);
bool has(CpuTarget);  // it was compiled and this processor has it

// The most that this processor has. FIRN_CPU_TARGET=baseline|avx2|avx512 asks for less; ConfigError for what is not
// there.
CpuTarget cpu_target();

bool has_amx();  // the processor has bf16 tiles and the system lets us use them

// While it lives, that one runs: for tests.
class CpuTargetScope {
 public:
  explicit CpuTargetScope(CpuTarget);
  ~CpuTargetScope();
  CpuTargetScope(const CpuTargetScope&) = delete;
  CpuTargetScope& operator=(const CpuTargetScope&) = delete;

 private:
  CpuTarget before_;
};

}  // namespace firn::kernels
