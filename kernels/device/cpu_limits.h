// What the CPU can do at most: train_bench and a run's tick lines tell which share of it they reached (`sol`).
#pragma once
#include <algorithm>

#include "kernels/core/types.h"

namespace firn::kernels {

// FLOP/s and bytes/s of all threads together.
struct CpuLimits {
  double fma = 0;      // of multiply-adds in registers, by cpu_target()
  double product = 0;  // of oneDNN's product of bf16 matrices; 0 without AMX, where all is computed in f32
  double bytes = 0;    // of a triad of arrays that no core's own cache holds
  double flops(DType t) const { return t == DType::bf16 ? std::max(fma, product) : fma; }
};

const CpuLimits& cpu_limits();  // measured in a tenth of a second, once for each number of threads and cpu_target()

// ---- What is compiled for each instruction set (kernels/core/simd.h)

struct MultiplyAdds {
  double (*round)();  // some microseconds of one thread -> FLOPs
};

namespace baseline {
extern const MultiplyAdds multiply_adds;
}
namespace avx2 {
extern const MultiplyAdds multiply_adds;
}
namespace avx512 {
extern const MultiplyAdds multiply_adds;
}

}  // namespace firn::kernels
