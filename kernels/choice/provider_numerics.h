// What libraries may do with our numbers. Read at each call, so a tool sets it once, before the first op.
#pragma once
#include <set>
#include <string>

#include "kernels/core/types.h"

namespace firn::kernels {

#ifdef FIRN_CUDA
constexpr bool kCudaBuild = true;
#else
constexpr bool kCudaBuild = false;
#endif

struct Numerics {
  bool libraries = true;          // cuDNN and cuBLASLt on CUDA; false: the reference kernels for everything
  std::set<std::string> without;  // our kernels that are left out where a library can do their work, by launch name
  bool tf32 = false;              // f32 products may round their operands to 10 bits, on tensor cores
  // Take each library's first proposal: what runs depends on no timing, and on no cache file but for what lost the GPU.
  bool deterministic = false;
};

// Every algorithm that is ever chosen repeats its results bit by bit; only the choice itself may differ between
// machines and runs.
inline Numerics& numerics() {
  static Numerics n;
  return n;
}

// Where activations are bf16, what stays f32 needs no more than TF32 either.
inline void set_numerics(DType activations, bool tf32 = false, bool deterministic = false) {
  numerics().tf32 = tf32 || activations == DType::bf16;
  numerics().deterministic = deterministic;
}

}  // namespace firn::kernels
