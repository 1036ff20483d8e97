// A round of multiply-adds in registers, for each instruction set.
#include "kernels/device/cpu_limits.h"
#include "kernels/core/simd.h"

namespace firn::kernels::FIRN_TARGET {

namespace {

constexpr int kChains = 12;  // more than two units' latency needs, and with two operands no more than AVX2's registers
constexpr int kSteps = 1 << 14;

// As if somebody had written these, and will read them.
void keep(void* values) { asm volatile("" : : "r"(values) : "memory"); }

double round() {
  Vector sums[kChains] = {};
  keep(sums);
  for (int step = 0; step < kSteps; ++step)
    for (Vector& s : sums) s = s * 0.5f + 1.0f;
  keep(sums);
  return 2.0 * kSteps * kChains * kLanes;
}

}  // namespace

extern const MultiplyAdds multiply_adds = {round};

}  // namespace firn::kernels::FIRN_TARGET
