// What the copy engine of sm_90 knows of a tensor: where it is, how large, and which box of it one copy brings.
#pragma once
#include <initializer_list>

#include "kernels/core/types.h"

namespace firn::kernels {

// A CUtensorMap, without the driver's header. Kernels take it by value, so a captured launch keeps it.
struct alignas(128) TensorMap {
  unsigned char bytes[128];
};

// Of a dense tensor, innermost dimension first; boxes of at most 256 a side, 128 bytes in the innermost dimension, with
// the 128-byte swizzle. Data and rows start at multiples of 16 bytes. DeviceError where the driver refuses.
TensorMap tensor_map(const bf16* data, std::initializer_list<int64_t> sizes, std::initializer_list<int> box);

}  // namespace firn::kernels
