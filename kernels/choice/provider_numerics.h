// What libraries may do with our numbers: a property of the stream, and so of the device that a network is made on.
#pragma once
#include <set>
#include <string>

#include "kernels/core/run.h"
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
  friend bool operator==(const Numerics&, const Numerics&) = default;
};

// Every algorithm that is ever chosen repeats its results bit by bit; only the choice itself may differ between
// machines and runs.
const Numerics& numerics(const Stream&);
Stream with(Stream, const Numerics&);
Numerics& initial_numerics();  // of every stream that is asked for from now on

}  // namespace firn::kernels
